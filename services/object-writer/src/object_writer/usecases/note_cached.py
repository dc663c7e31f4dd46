"""Note a cached batch by its manifest."""

from imaging_common.objects.manifest import read_manifest
from imaging_common.objects.model import CACHE_BUCKET
from imaging_common.objects.store import ObjectNotFound, ObjectStore
from imaging_common.telemetry import get_logger
from object_writer.errors import ForeignManifest
from object_writer.model import belongs
from object_writer.ports import CacheLedger

log = get_logger(__name__)


class NoteCached:
    """Called by the event and by the sweep; what it notes is never packed."""

    def __init__(self, store: ObjectStore, cache: CacheLedger) -> None:
        self._store = store
        self._cache = cache

    async def __call__(self, key: str) -> None:
        """Note the batch whose manifest lies at `key`; one that is gone was evicted before.

        Raises
        ------
        RejectedError
            It is no manifest, or contradicts its key.
        """
        try:
            manifest = await read_manifest(self._store, CACHE_BUCKET, key)
        except ObjectNotFound:
            log.info("a batch is gone from the cache tier: it was evicted before")
            return
        if manifest.kind != "batch" or manifest.lies_in != CACHE_BUCKET or not belongs(manifest, key):
            raise ForeignManifest("a cached manifest contradicts the key it lies under")
        await self._cache.note_batch(manifest, key)
