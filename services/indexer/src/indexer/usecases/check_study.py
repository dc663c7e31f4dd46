"""An operator's wish to compare a study with the object store enters; a study that says what is there leaves."""

from collections.abc import Callable
from datetime import UTC, datetime

from imaging_common.errors import RejectedError
from imaging_common.events import StudyCheckRequested
from imaging_common.objects.model import ARCHIVE_BUCKET, CACHE_BUCKET, STAGING_BUCKET
from imaging_common.objects.store import ObjectStore
from imaging_common.telemetry import get_logger
from indexer.ports import Index, StudyUnit
from indexer.usecases.evict_instances import ENDINGS, forget_locations
from indexer.usecases.restate_study import restate_study
from indexer.usecases.sweep_objects import IndexObject

log = get_logger(__name__)
Place = tuple[str, str]
"""(bucket, key)"""


class CheckStudy:
    """Makes the index of one study agree with the store.

    What is gone is no longer pointed at, what is there is indexed. What only the holder's PACS has comes back with its
    next announcement.
    """

    def __init__(
        self,
        index: Index,
        store: ObjectStore,
        index_object: IndexObject,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._index = index
        self._store = store
        self._index_object = index_object
        self._now = now

    async def __call__(self, event: StudyCheckRequested) -> None:
        """Look at every object of the study; asking again does no harm."""
        data, manifests = await self._there(f"{event.holder}/{event.study_uid}/")
        tier = await self._index.tier_of(event.holder)

        async def work(unit: StudyUnit) -> None:
            if event.told is not None:
                await unit.note_told(event.told)
            await unit.forget_indexed()
            unseen = await unit.places() - data
            await forget_locations(unit, [place[1] for place in unseen if not await self._came_meanwhile(place)])
            if await _is_torn(unit):
                await unit.remove(await unit.listed())
                await unit.remove_series([document["_id"] for document in await unit.series()])
            if await unit.study() is not None:
                await restate_study(
                    unit,
                    event.holder,
                    event.study_uid,
                    tier=tier,
                    epoch=self._index.epoch,
                    now=self._now(),
                    told=event.told,
                )

        await self._index.change(event.holder, event.study_uid, work)
        for bucket, key in manifests:
            try:
                await self._index_object(bucket, key)
            except RejectedError as error:
                log.error("manifest refused, the rest goes on", bucket=bucket, reason=str(error))

    async def _came_meanwhile(self, place: Place) -> bool:
        """Whether an object that was not listed is there, with its manifest, after all."""
        bucket, key = place
        manifest = f"{key.removesuffix(ENDINGS[bucket])}.json"
        return await self._store.exists(bucket, key) and await self._store.exists(bucket, manifest)

    async def _there(self, prefix: str) -> tuple[set[Place], list[Place]]:
        """Data objects with a manifest, and the manifests of those, in the order they were written."""
        data, manifests = set[Place](), list[tuple[datetime, Place]]()
        for bucket in (STAGING_BUCKET, ARCHIVE_BUCKET, CACHE_BUCKET):
            found = {entry.key: entry async for entry in self._store.list(bucket, prefix)}
            for key, entry in found.items():
                whole = key.removesuffix(".json") + ENDINGS[bucket]
                if key.endswith(".json") and whole in found:
                    data.add((bucket, whole))
                    manifests.append((entry.modified, (bucket, key)))
        return data, [place for _, place in sorted(manifests)]


async def _is_torn(unit: StudyUnit) -> bool:
    """Whether documents are missing that are only written together with instances that are new."""
    series = {document["_id"] for document in await unit.series()}
    return await unit.study() is None or not {tally.series_key for tally in await unit.tallies()} <= series
