"""Indexes manifests from MinIO: the one an event names, and all that no event told of (an event is only a hint)."""

from prometheus_client import Counter

from imaging_common.errors import RejectedError
from imaging_common.objects.manifest import read_manifest
from imaging_common.objects.store import ObjectNotFound, ObjectStore
from imaging_common.telemetry import attached, current_traceparent, get_logger
from indexer.ports import Index
from indexer.usecases.index_manifest import IndexManifest

PAGE = 500
REFUSED = Counter("imaging_indexer_manifests_refused", "Manifests that a sweep could not take", ["bucket"])
log = get_logger(__name__)


class IndexObject:
    """Reads one manifest and indexes it, unless it is indexed already."""

    def __init__(self, index: Index, store: ObjectStore, index_manifest: IndexManifest) -> None:
        self._index = index
        self._store = store
        self._index_manifest = index_manifest

    async def __call__(self, bucket: str, key: str) -> None:
        """Index the manifest at `key`.

        One that is gone was archived (a batch) or replaced by a later pack, which the archive's sweep finds.
        """
        if await self._index.indexed([f"{bucket}/{key}"]):
            return
        try:
            manifest = await read_manifest(self._store, bucket, key)
        except ObjectNotFound:
            log.info("manifest is gone: its successor is found by the sweep", bucket=bucket)
            return
        with attached(None if current_traceparent() else manifest.traceparent):
            await self._index_manifest(manifest, key)


class SweepObjects:
    """Looks through a bucket's manifests for those that are not indexed."""

    def __init__(self, index: Index, store: ObjectStore, index_object: IndexObject) -> None:
        self._index = index
        self._store = store
        self._index_object = index_object

    async def __call__(self, bucket: str) -> int:
        """Index what is not; how many manifests that were."""
        count, page = 0, list[str]()
        async for entry in self._store.list(bucket, ""):
            if entry.key.endswith(".json"):
                page.append(entry.key)
            if len(page) >= PAGE:
                count += await self._index_missing(bucket, page)
                page = []
        return count + await self._index_missing(bucket, page)

    async def _index_missing(self, bucket: str, keys: list[str]) -> int:
        indexed = await self._index.indexed([f"{bucket}/{key}" for key in keys])
        missing = [key for key in keys if f"{bucket}/{key}" not in indexed]
        count = 0
        for key in missing:
            try:
                await self._index_object(bucket, key)
                count += 1
            except RejectedError as error:
                REFUSED.labels(bucket).inc()
                log.error("manifest refused, the rest goes on", bucket=bucket, reason=str(error))
        if count:
            log.info("swept", bucket=bucket, manifests=count)
        return count
