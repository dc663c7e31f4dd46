"""What the store keeper does: notes batches, seals packs, takes the index's word, and cleans up after the grace."""

import asyncio
import hashlib
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client import Counter

from imaging_common.objects.manifest import read_manifest, write_manifest
from imaging_common.objects.model import (
    ARCHIVE_BUCKET,
    STAGING_BUCKET,
    Manifest,
    StoredInstance,
    collection_id,
    manifest_key,
    pack_key,
)
from imaging_common.objects.store import ObjectNotFound, ObjectStore
from imaging_common.telemetry import current_traceparent, get_logger
from object_writer.errors import PackNotVerified
from object_writer.model import Source, display_order, moved, pixel_shape
from object_writer.ports import Compressor, Ledger
from object_writer.settings import ObjectWriterSettings

CHUNK = 4 * 1024 * 1024
PAGE = 200
PACKED = Counter("imaging_archive_bytes", "Bytes of instances packed", ["measure"])
REMOVED = Counter("imaging_objects_removed", "Objects removed after their time", ["kind"])
log = get_logger(__name__)


class StoreKeeper:
    """The use cases over one object store and one ledger."""

    def __init__(
        self, settings: ObjectWriterSettings, store: ObjectStore, ledger: Ledger, compressor: Compressor
    ) -> None:
        self._settings = settings
        self._store = store
        self._ledger = ledger
        self._compressor = compressor

    async def note_batch(self, key: str) -> None:
        """Note a staged batch by its manifest's key; one that is gone has been dealt with."""
        try:
            manifest = await read_manifest(self._store, STAGING_BUCKET, key)
        except ObjectNotFound:
            log.info("a batch is gone from staging: it was archived before")
            return
        await self._ledger.note_batch(manifest, key)

    async def seal_next(self) -> bool:
        """Pack one series that is due; whether there was one."""
        quiet_before = datetime.now(UTC) - timedelta(seconds=self._settings.seal_quiet_seconds)
        series_id = await self._ledger.take_series(quiet_before, self._settings.seal_bytes)
        if series_id is None:
            return False
        try:
            await self._seal(series_id)
        finally:
            await self._ledger.release_series(series_id)
        return True

    async def _seal(self, series_id: str) -> None:
        hospital, study_uid, series_uid = series_id.split("/")
        packs = await self._ledger.packs_of(series_id)
        sources = await self._sources(ARCHIVE_BUCKET, packs, series_uid)
        sources |= await self._sources(STAGING_BUCKET, await self._ledger.batches_of(series_id), series_uid)
        ordered = sorted(sources.values(), key=display_order)
        if not ordered:
            raise PackNotVerified("a series is due, but none of its manifests is there yet")
        keep = await self._ledger.compression(hospital) == "keep"
        pack_id = collection_id([source.instance.sha256 for source in ordered])
        data_key = pack_key(hospital, study_uid, series_uid, pack_id)
        key = manifest_key(data_key)
        with tempfile.TemporaryDirectory(prefix="pack-") as folder:
            path = Path(folder) / "pack"
            instances, digest = await self._write(path, ordered, keep=keep)
            await self._store.put(ARCHIVE_BUCKET, data_key, path)
            size = path.stat().st_size
        await self._verify(data_key, size, digest)
        manifest = Manifest(
            kind="pack",
            hospital=hospital,
            study_uid=study_uid,
            id=pack_id,
            data_key=data_key,
            instances=instances,
            traceparent=current_traceparent(),
            replaces=[pack for pack in packs if pack != key],
        )
        await write_manifest(self._store, ARCHIVE_BUCKET, manifest)
        await self._ledger.note_pack(manifest, key, series_id)
        PACKED.labels("received").inc(sum(i.original_length for i in instances))
        PACKED.labels("stored").inc(size)
        log.info("pack sealed", hospital=hospital, instances=len(instances), bytes=size)

    async def _sources(self, bucket: str, keys: list[str], series_uid: str) -> dict[tuple[str, str], Source]:
        """The series' entries in these objects, by SOP Instance UID and digest: conflicting versions are both kept."""
        found: dict[tuple[str, str], Source] = {}
        for key in keys:
            try:
                manifest = await read_manifest(self._store, bucket, key)
            except ObjectNotFound:
                continue
            for instance in manifest.instances:
                if instance.series_uid == series_uid:
                    source = Source(bucket, manifest.data_key, instance)
                    found.setdefault((instance.sop_instance_uid, instance.sha256), source)
        return found

    async def _write(self, path: Path, sources: list[Source], *, keep: bool) -> tuple[list[StoredInstance], str]:
        """Write the pack's data to `path`; its entries and its SHA-256."""
        digest, position = hashlib.sha256(), 0
        instances: list[StoredInstance] = []
        with path.open("wb") as out:
            for source in sources:
                old = source.instance
                data = await self._store.get_range(source.bucket, source.key, old.offset, old.length)
                if source.bucket == ARCHIVE_BUCKET:
                    entry, stored = data, old
                else:
                    entry, stored = await self._compressor.pack(data, old, None if keep else pixel_shape(old))
                instances.append(moved(stored, position))
                position += len(entry)
                digest.update(entry)
                await asyncio.to_thread(out.write, entry)
        return instances, digest.hexdigest()

    async def _verify(self, data_key: str, size: int, digest: str) -> None:
        """Read the pack back. Its entries were rebuilt and compared before; so equal bytes mean equal files."""
        read = hashlib.sha256()
        async for piece in self._store.stream(ARCHIVE_BUCKET, data_key, 0, size, CHUNK):
            read.update(piece)
        if read.hexdigest() != digest:
            raise PackNotVerified("the store gives a pack back with other bytes than were written")

    async def sweep_staging(self) -> int:
        """Note batches whose event was missed, and remove data whose manifest never came; how many batches."""
        noted, keys = 0, list[str]()
        data: dict[str, datetime] = {}
        async for entry in self._store.list(STAGING_BUCKET, ""):
            if entry.key.endswith(".json"):
                keys.append(entry.key)
            else:
                data[manifest_key(entry.key)] = entry.modified
        for start in range(0, len(keys), PAGE):
            page = keys[start : start + PAGE]
            known = await self._ledger.known_batches(page)
            for key in page:
                if key not in known:
                    await self.note_batch(key)
                    noted += 1
        old = datetime.now(UTC) - timedelta(seconds=self._settings.orphan_seconds)
        for key, modified in data.items():
            if key not in keys and modified < old:
                await self._store.delete(STAGING_BUCKET, key.removesuffix(".json") + ".batch")
                REMOVED.labels("orphan").inc()
        return noted

    async def clean_up(self) -> None:
        """Remove staged batches and replaced packs after the grace; manifests first, so that none is without data."""
        before = datetime.now(UTC) - timedelta(seconds=self._settings.grace_seconds)
        for key in await self._ledger.removable_batches(before):
            await self._remove(STAGING_BUCKET, key, ".batch")
        for key in await self._ledger.removable_packs(before):
            await self._remove(ARCHIVE_BUCKET, key, ".pack")

    async def _remove(self, bucket: str, key: str, ending: str) -> None:
        await self._store.delete(bucket, key)
        await self._store.delete(bucket, key.removesuffix(".json") + ending)
        await self._ledger.forget(key)
        REMOVED.labels(ending.removeprefix(".")).inc()
