"""Indexes manifests and catalogues from MinIO: the one an event names, and all that no event told of: an event is only
a hint."""

from prometheus_client import Counter

from imaging_common.errors import RejectedError
from imaging_common.objects.manifest import read_manifest
from imaging_common.objects.model import CACHE_BUCKET
from imaging_common.objects.store import ObjectInfo, ObjectNotFound, ObjectStore
from imaging_common.telemetry import attached, current_traceparent, get_logger
from indexer.errors import CatalogueMissing, ForeignManifest
from indexer.ports import Index
from indexer.usecases.index_catalogue import IndexCatalogue
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

        Raises
        ------
        ForeignManifest
            It says that it lies in another bucket.

        One that is gone was archived (a batch) or replaced by a later pack, which the archive's sweep finds.
        """
        name = f"{bucket}/{key}"
        if await self._index.indexed([name]) and not await self._sent_again(bucket, key, name):
            return
        try:
            manifest = await read_manifest(self._store, bucket, key)
        except ObjectNotFound:
            log.info("manifest is gone: its successor is found by the sweep", bucket=bucket)
            return
        if manifest.lies_in != bucket:
            raise ForeignManifest("a manifest contradicts the bucket it lies in")
        with attached(None if current_traceparent() else manifest.traceparent):
            await self._index_manifest(manifest, key)

    async def _sent_again(self, bucket: str, key: str, name: str) -> bool:
        """Whether a manifest that was deleted for good was written after that; its key is the same then."""
        purged = await self._index.purged([name]) if bucket != CACHE_BUCKET else {}
        try:
            if not purged or (await self._store.stat(bucket, key)).modified <= purged[name]:
                return False
        except ObjectNotFound:
            return False
        await self._index.forget(name)
        return True


class SweepObjects:
    """Looks through a bucket's manifests and catalogues for those that are not indexed."""

    def __init__(
        self, index: Index, store: ObjectStore, index_object: IndexObject, index_catalogue: IndexCatalogue
    ) -> None:
        self._index = index
        self._store = store
        self._index_object = index_object
        self._index_catalogue = index_catalogue

    async def __call__(self, bucket: str) -> int:
        """Index what is not; how many objects that were."""
        count, page = 0, list[ObjectInfo]()
        async for entry in self._store.list(bucket, ""):
            if entry.key.endswith((".json", ".catalogue")) and "/reports/" not in entry.key:
                page.append(entry)
            if len(page) >= PAGE:
                count += await self._index_missing(bucket, page)
                page = []
        return count + await self._index_missing(bucket, page)

    async def _index_missing(self, bucket: str, page: list[ObjectInfo]) -> int:
        entries = {f"{bucket}/{entry.key}": entry for entry in page}
        indexed = await self._index.indexed(list(entries))
        purged = await self._index.purged(sorted(indexed)) if bucket != CACHE_BUCKET and indexed else {}
        again = {name for name, at in purged.items() if entries[name].modified > at}
        missing = [entry.key for name, entry in entries.items() if name not in indexed or name in again]
        count = 0
        for key in missing:
            try:
                await self._index_one(bucket, key)
                count += 1
            except CatalogueMissing:
                log.info("catalogue is gone: a newer one took its place", bucket=bucket)
            except RejectedError as error:
                REFUSED.labels(bucket).inc()
                log.error("manifest refused, the rest goes on", bucket=bucket, reason=str(error))
        if count:
            log.info("swept", bucket=bucket, manifests=count)
        return count

    async def _index_one(self, bucket: str, key: str) -> None:
        if key.endswith(".json"):
            await self._index_object(bucket, key)
        elif bucket == CACHE_BUCKET and key.count("/") == 2:
            hospital, study_uid, _ = key.split("/")
            await self._index_catalogue(hospital, study_uid, key)
