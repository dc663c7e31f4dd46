"""Looks through staging: batches whose event was missed are noted, data whose manifest never came is removed."""

from datetime import UTC, datetime, timedelta

from prometheus_client import Counter

from imaging_common.errors import RejectedError
from imaging_common.objects.model import STAGING_BUCKET, manifest_key
from imaging_common.objects.store import ObjectInfo, ObjectNotFound, ObjectStore
from imaging_common.telemetry import get_logger
from object_writer.ports import Ledger
from object_writer.usecases.note_batch import NoteBatch

PAGE = 500
REMOVED = Counter("imaging_objects_removed", "Objects removed after their time", ["kind"])
log = get_logger(__name__)


class RemoveOrphans:
    """Data objects whose writer was killed before it wrote their manifest."""

    def __init__(self, store: ObjectStore, bucket: str, seconds: float) -> None:
        self._store = store
        self._bucket = bucket
        self._age = timedelta(seconds=seconds)

    async def __call__(self, entries: list[ObjectInfo], manifests: set[str]) -> None:
        """Remove those of `entries` that are old and have none of the manifests."""
        for entry in entries:
            if manifest_key(entry.key) not in manifests and self._is_old(entry):
                await self._remove(entry.key)

    async def _remove(self, key: str) -> None:
        """Look again first: it may have been sent again since the listing."""
        try:
            now = await self._store.stat(self._bucket, key)
        except ObjectNotFound:
            return
        if self._is_old(now) and not await self._store.exists(self._bucket, manifest_key(key)):
            await self._store.delete(self._bucket, key)
            REMOVED.labels("orphan").inc()
            log.info("orphan removed", bucket=self._bucket)

    def _is_old(self, entry: ObjectInfo) -> bool:
        return entry.modified < datetime.now(UTC) - self._age


class SweepStaging:
    """An event is only a hint: what lies in staging is found without it."""

    def __init__(self, store: ObjectStore, ledger: Ledger, note_batch: NoteBatch, orphan_seconds: float) -> None:
        self._store = store
        self._ledger = ledger
        self._note_batch = note_batch
        self._remove_orphans = RemoveOrphans(store, STAGING_BUCKET, orphan_seconds)

    async def __call__(self) -> int:
        """One look; how many batches were noted. Memory holds one page: a manifest follows its data in the listing."""
        noted, page = 0, list[ObjectInfo]()
        async for entry in self._store.list(STAGING_BUCKET, ""):
            page.append(entry)
            if len(page) >= PAGE and entry.key.endswith(".json"):
                noted += await self._page(page)
                page = []
        return noted + await self._page(page)

    async def _page(self, page: list[ObjectInfo]) -> int:
        manifests = {entry.key for entry in page if entry.key.endswith(".json")}
        unknown = manifests - await self._ledger.known_batches(manifests)
        for key in sorted(unknown):
            try:
                await self._note_batch(key)
            except RejectedError as error:
                log.error("a staged manifest cannot be noted", key=key, error=type(error).__name__)
        await self._remove_orphans([entry for entry in page if not entry.key.endswith(".json")], manifests)
        return len(unknown)
