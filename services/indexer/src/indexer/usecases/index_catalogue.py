"""What a hospital's PACS says of a study enters; the study leaves, with a document per instance and not a pixel."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from imaging_common.events import StudyAvailable
from imaging_common.objects.catalogue import Catalogue, decode
from imaging_common.objects.model import CACHE_BUCKET
from imaging_common.objects.store import ObjectNotFound, ObjectStore
from imaging_common.telemetry import get_logger
from indexer.errors import CatalogueMissing, ForeignManifest
from indexer.model import Announcement
from indexer.ports import Index, StudyUnit
from indexer.usecases.change_catalogue import CatalogueChange, Entry, entries_of, facts_digest
from indexer.usecases.restate_study import restate_study

CHUNK = 1000
"""Instances per transaction: MongoDB ends transactions after 60 s."""
log = get_logger(__name__)


class IndexCatalogue:
    """Only the catalogue with the highest announcement number counts; an older or repeated one changes nothing."""

    def __init__(self, index: Index, store: ObjectStore, now: Callable[[], datetime] = lambda: datetime.now(UTC)):
        self._index = index
        self._store = store
        self._now = now

    async def __call__(self, hospital: str, study_uid: str, key: str, event: StudyAvailable | None = None) -> None:
        """Index the catalogue at `key`; without an event its own announcement number counts.

        Raises
        ------
        ForeignManifest
            It is another hospital's or study's.
        CatalogueMissing
            It is not there, though no newer one is indexed.
        """
        if not key.startswith(f"{hospital}/{study_uid}/"):
            raise ForeignManifest("an announcement names a catalogue of another hospital or study")
        known = await self._index.announced(hospital, study_uid)
        if event is not None and known >= event.announcement:
            return
        try:
            data = await self._store.get(CACHE_BUCKET, key)
        except ObjectNotFound as error:
            raise CatalogueMissing("an announced catalogue is not in the object store") from error
        catalogue, entries, digest = await asyncio.to_thread(_read, data)
        if (catalogue.hospital, catalogue.study_uid) != (hospital, study_uid):
            raise ForeignManifest("a catalogue contradicts the key it lies under")
        await self._index_entries(catalogue, entries, key, _announcement(catalogue, digest, event, self._now()))

    async def _index_entries(
        self, catalogue: Catalogue, entries: Sequence[Entry], key: str, announcement: Announcement
    ) -> None:
        hospital, study_uid = catalogue.hospital, catalogue.study_uid
        tier = await self._index.tier_of(hospital)
        chunks = [entries[i : i + CHUNK] for i in range(0, len(entries), CHUNK)] or [[]]
        for position, chunk in enumerate(chunks):
            last = position == len(chunks) - 1

            async def work(unit: StudyUnit, chunk: Sequence[Entry] = chunk, last: bool = last) -> None:
                former = await unit.announcement()
                if former is not None and former.number >= announcement.number:
                    await unit.mark_indexed(f"{CACHE_BUCKET}/{key}", [])
                    return
                change = CatalogueChange(unit, catalogue, former, announcement)
                await change.take(chunk)
                if last:
                    await change.remove_gone(entries, keep_central=tier == "central")
                    await unit.put_announcement(announcement)
                    await unit.mark_indexed(f"{CACHE_BUCKET}/{key}", [])
                await restate_study(
                    unit,
                    hospital,
                    study_uid,
                    tier=tier,
                    epoch=self._index.epoch,
                    now=self._now(),
                    facts=change.facts(entries),
                    state={"facts_from": entries[0].uid} if entries else None,
                    recount=change.history,
                )

            await self._index.change(hospital, study_uid, work)
        log.info("catalogue indexed", instances=len(entries), hospital=hospital)


def _read(data: bytes) -> tuple[Catalogue, list[Entry], str]:
    """Decode and digest, which takes time, in a thread of its own."""
    catalogue = decode(data)
    return catalogue, entries_of(catalogue), facts_digest(catalogue)


def _announcement(catalogue: Catalogue, digest: str, event: StudyAvailable | None, now: datetime) -> Announcement:
    number = event.announcement if event else catalogue.announcement
    listed = len({instance.sop_instance_uid for instance in catalogue.instances})
    if event is None:
        return Announcement(number, "pacs", listed=listed, facts_digest=digest, announced_at=now)
    return Announcement(
        number, event.basis, tuple(event.instances), tuple(event.rejected), listed, digest,
        announced_at=event.announced_at,
    )  # fmt: skip
