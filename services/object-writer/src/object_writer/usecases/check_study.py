"""An operator's wish to compare a study with the store: what is not there is not relied on any longer."""

from imaging_common.events import StudyCheckRequested
from imaging_common.objects.model import ARCHIVE_BUCKET, STAGING_BUCKET
from imaging_common.objects.store import ObjectStore
from imaging_common.telemetry import get_logger
from object_writer.ports import Ledger
from object_writer.usecases.adopt_packs import AdoptPacks

log = get_logger(__name__)


class CheckStudy:
    """Makes the ledger of one study agree with archive and staging."""

    def __init__(self, store: ObjectStore, ledger: Ledger, adopt_packs: AdoptPacks) -> None:
        self._store = store
        self._ledger = ledger
        self._adopt_packs = adopt_packs

    async def __call__(self, event: StudyCheckRequested) -> int:
        """Look for every pack and batch of the study; how many packs are not there. Unknown packs are adopted.

        A batch that is gone is forgotten, so that it is noted when it is sent again.
        """
        study_id = f"{event.holder}/{event.study_uid}"
        batches = await self._ledger.batches_of_study(study_id)  # asked first: what is stored meanwhile is not gone
        staged = await self._there(STAGING_BUCKET, study_id)
        for key in batches:
            if not {key, key.removesuffix(".json") + ".batch"} <= staged:
                await self._ledger.forget(key)
        packs = await self._ledger.packs_of_study(study_id)
        there = await self._there(ARCHIVE_BUCKET, study_id)
        lost = 0
        for key in packs:
            if not {key, key.removesuffix(".json") + ".pack"} <= there:
                await self._ledger.note_pack_lost(key)
                log.error("a pack is not in the archive", key=key)
                lost += 1
        await self._adopt_packs(f"{study_id}/")
        return lost

    async def _there(self, bucket: str, study_id: str) -> set[str]:
        return {entry.key async for entry in self._store.list(bucket, f"{study_id}/")}
