"""Deletes for good what an operator deleted, after its retention: marks it and tells so, then removes the objects."""

from imaging_common.objects.model import CACHE_BUCKET
from imaging_common.objects.store import ObjectStore
from imaging_common.telemetry import get_logger
from object_writer.ports import CacheLedger, Deletions, Ledger
from object_writer.usecases.sweep_staging import REMOVED
from object_writer.usecases.written import written_at

PAGE = 100
ENDINGS = {"staging": "batch", "archive": "pack"}
log = get_logger(__name__)


class PurgeDeleted:
    """Marks studies whose retention is over; killed anywhere, the next round goes on."""

    def __init__(self, store: ObjectStore, deletions: Deletions, cache: CacheLedger) -> None:
        self._store = store
        self._deletions = deletions
        self._cache = cache

    async def __call__(self) -> int:
        """One look; how many studies are purged."""
        count = 0
        if not await self._cache.take_turn("purge"):
            return count
        for study_id in await self._deletions.due(PAGE):
            if not await self._deletions.purge(study_id):
                log.info("a deleted study stays for now: it is held, was restored, or is being packed")
                continue
            await self._cache.evict_purged(study_id)
            async for entry in self._store.list(CACHE_BUCKET, f"{study_id}/"):
                if entry.key.endswith(".catalogue"):
                    await self._store.delete(CACHE_BUCKET, entry.key)
            await self._deletions.finish(study_id)
            count += 1
            log.info("deleted study purged", hospital=study_id.split("/")[0])
        return count


class RemovePurged:
    """Removes marked objects, each manifest before its data; what was sent again after the mark stays."""

    def __init__(self, store: ObjectStore, ledger: Ledger, deletions: Deletions) -> None:
        self._store = store
        self._ledger = ledger
        self._deletions = deletions

    async def __call__(self) -> bool:
        """Remove a page; whether there may be more."""
        purged = await self._deletions.purged(PAGE)
        for one in purged:
            data_key = f"{one.manifest_key.removesuffix('.json')}.{ENDINGS[one.bucket]}"
            if await written_at(self._store, one.bucket, data_key) > one.at:
                await self._deletions.spare(one)
                log.info("a purged object was sent again and stays", bucket=one.bucket)
                continue
            await self._store.delete(one.bucket, one.manifest_key)
            await self._store.delete(one.bucket, data_key)
            await self._ledger.forget(one.manifest_key)
            REMOVED.labels(f"purged {ENDINGS[one.bucket]}").inc()
        return bool(purged)
