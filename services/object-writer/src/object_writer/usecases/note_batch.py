"""Note a staged batch by its manifest."""

from imaging_common.objects.manifest import read_manifest
from imaging_common.objects.model import STAGING_BUCKET
from imaging_common.objects.store import ObjectNotFound, ObjectStore
from imaging_common.telemetry import get_logger
from object_writer.errors import ForeignManifest
from object_writer.model import belongs
from object_writer.ports import Ledger

log = get_logger(__name__)


class NoteBatch:
    """Called by the event and by the sweep."""

    def __init__(self, store: ObjectStore, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    async def __call__(self, key: str) -> None:
        """Note the batch whose manifest lies at `key`; one that is gone was archived before.

        Raises
        ------
        RejectedError
            It is no manifest, or contradicts its key.
        """
        try:
            manifest = await read_manifest(self._store, STAGING_BUCKET, key)
        except ObjectNotFound:
            log.info("a batch is gone from staging: it was archived before")
            return
        if manifest.kind != "batch" or manifest.lies_in != STAGING_BUCKET or not belongs(manifest, key):
            raise ForeignManifest("a staged manifest contradicts the key it lies under")
        await self._ledger.note_batch(manifest, key)
