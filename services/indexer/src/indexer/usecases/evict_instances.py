"""Data objects that are gone enter; instances without bytes (cache) or their tombstones (archive, staging) leave."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from imaging_common.events import InstancesEvicted
from indexer.errors import ForeignManifest
from indexer.model import Document, empty_study, study_facts, tombstone
from indexer.ports import Index, StudyUnit
from indexer.usecases.restate_study import restate_study

ENDINGS = {"cache": ".batch", "staging": ".batch", "archive": ".pack"}


class EvictInstances:
    """Touches only what still points to an object that is gone; a manifest that is told of late is not indexed then."""

    def __init__(self, index: Index, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._index = index
        self._now = now

    async def __call__(self, event: InstancesEvicted, at: datetime) -> None:
        """Take notice of what happened `at` this time.

        Raises
        ------
        ForeignManifest
            A manifest is of another hospital or study.
        """
        prefix = f"{event.hospital}/{event.study_uid}/"
        if not all(key.startswith(prefix) and key.endswith(".json") for key in event.manifest_keys):
            raise ForeignManifest("an eviction names a manifest of another hospital or study")
        keys = [key.removesuffix(".json") + ENDINGS[event.bucket] for key in event.manifest_keys]
        tier = await self._index.tier_of(event.hospital)

        async def work(unit: StudyUnit) -> None:
            names = [f"{event.bucket}/{key}" for key in event.manifest_keys]
            await unit.mark_replaced(names, None if event.bucket == "cache" else at)
            before = await unit.study()
            if before is None:
                return
            if event.bucket == "cache":
                state = await forget_locations(unit, keys)
            else:
                state = await _bury(unit, keys, before, self._now())
            await restate_study(
                unit, event.hospital, event.study_uid, tier=tier, epoch=self._index.epoch, now=self._now(), state=state
            )

        await self._index.change(event.hospital, event.study_uid, work)


async def forget_locations(unit: StudyUnit, keys: Sequence[str]) -> Document:
    """Nothing of the study is said to lie in these data objects any more."""
    evicted = [d["sop_instance_uid"] for d in await unit.lying_in("instances", keys)]
    await unit.amend({uid: {"location": None} for uid in evicted})
    for collection in ("instance_versions", "conflicts"):
        rows = await unit.lying_in(collection, keys)
        await unit.relocate_aside({(row["sop_instance_uid"], row["sha256"]): None for row in rows})
    return {}


async def _bury(unit: StudyUnit, keys: Sequence[str], before: Document, now: datetime) -> Document:
    """A purge: no header and no name of the patient is kept of what is gone for good."""
    purged = await unit.lying_in("instances", keys)
    await unit.put_aside("instance_versions", [tombstone(document) for document in purged])
    await unit.remove([document["sop_instance_uid"] for document in purged])
    for collection in ("instance_versions", "conflicts"):
        rows = await unit.lying_in(collection, keys)
        await unit.put_aside(collection, [tombstone(row) for row in rows])
    if not purged or await unit.listed():
        return {}
    blank = empty_study(before["holder"], before["study_uid"], before["tier"], now)
    return {**study_facts({}), **{name: blank[name] for name in ("facts_from", "modalities", "body_parts")}}
