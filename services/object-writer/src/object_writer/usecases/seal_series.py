"""Turns what of a series waits in staging into archive packs, verified, and tells so."""

import asyncio
import hashlib
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client import Counter, Histogram

from imaging_common.objects.manifest import UnreadableManifest, read_manifest, write_manifest
from imaging_common.objects.model import (
    ARCHIVE_BUCKET,
    STAGING_BUCKET,
    Manifest,
    collection_id,
    manifest_key,
    pack_key,
)
from imaging_common.objects.store import ObjectNotFound, ObjectStore
from imaging_common.telemetry import attached, current_traceparent, get_logger, get_tracer
from imaging_common.telemetry.metrics import DELAY_BUCKETS
from object_writer.errors import PackNotVerified
from object_writer.model import Name, Source, cut, display_order
from object_writer.ports import DueSeries, Ledger, PackRecord, Policy
from object_writer.settings import ObjectWriterSettings
from object_writer.usecases.adopt_packs import AdoptPacks
from object_writer.usecases.write_pack import WritePack, Written

SCRATCH_PREFIX = "imaging-pack-"
READ_BACK_BYTES = 4 * 1024 * 1024
PACKED = Counter("imaging_archive_bytes", "Bytes of instances packed", ["hospital", "measure"])
SEALED = Counter("imaging_archive_instances", "Instances packed and verified", ["hospital"])
SEAL_SECONDS = Histogram(
    "imaging_archive_seal_seconds", "Seconds from a series' lease until its packs are verified", buckets=DELAY_BUCKETS
)
DAMAGED = Counter("imaging_objects_damaged", "Copies of instances that cannot be read", ["outcome"])
log = get_logger(__name__)
_tracer = get_tracer(__name__)


class SealSeries:
    """Killed anywhere, it starts again and comes to the same keys."""

    def __init__(
        self,
        settings: ObjectWriterSettings,
        store: ObjectStore,
        ledger: Ledger,
        write_pack: WritePack,
        adopt_packs: AdoptPacks,
    ) -> None:
        self._settings = settings
        self._store = store
        self._ledger = ledger
        self._write_pack = write_pack
        self._adopt_packs = adopt_packs

    async def seal_next(self) -> bool:
        """Pack one series that is due; whether there was one."""
        quiet_before = datetime.now(UTC) - timedelta(seconds=self._settings.seal_quiet_seconds)
        due = await self._ledger.take_series(quiet_before, self._settings.seal_bytes)
        if due is None:
            return False
        failed = True
        try:
            with attached(due.traceparent), _tracer.start_as_current_span("seal series"), SEAL_SECONDS.time():
                await self._seal(due)
            failed = False
        finally:
            await self._ledger.release_series(due.id, failed=failed)
        return True

    async def _seal(self, due: DueSeries) -> None:
        # a copy that was killed may have left packs that nobody noted
        await self._adopt_packs(f"{due.id}/")
        pending = await self._ledger.pending(due.id)
        sources = await self._sources(STAGING_BUCKET, pending.batches, pending.names, due.id)
        for name in pending.names - sources.keys():
            await self._lost(due.id, name, pending.batches)
        if not sources:
            return
        rewritten = [pack for pack in await self._ledger.packs_of(due.id) if self._is_small(pack)]
        for pack in rewritten:
            sources |= await self._sources(ARCHIVE_BUCKET, [pack.manifest_key], pack.names, due.id)
        ordered = sorted(sources.values(), key=display_order)
        packs = cut(ordered, self._settings.seal_bytes, self._settings.seal_instances)
        for number, pack_sources in enumerate(packs):
            last = number == len(packs) - 1
            replaces = [pack.manifest_key for pack in rewritten] if last else []
            await self._make(due.id, pack_sources, replaces)

    def _is_small(self, pack: PackRecord) -> bool:
        """Whether late instances go into it by writing it anew; a full one stays, and one of a deleted study."""
        full = pack.original_bytes >= self._settings.seal_bytes // 2
        return not full and not pack.closed and len(pack.names) < self._settings.seal_instances // 2

    async def _sources(self, bucket: str, keys: list[str], names: set[Name], series_id: str) -> dict[Name, Source]:
        """The entries in these objects that are wanted; of several copies the first."""
        found: dict[Name, Source] = {}
        series_uid = series_id.rsplit("/", 1)[1]
        for key in keys:
            try:
                manifest = await read_manifest(self._store, bucket, key)
            except (ObjectNotFound, UnreadableManifest) as error:
                log.error("a manifest cannot be read", bucket=bucket, key=key, error=type(error).__name__)
                continue
            for instance in manifest.instances:
                source = Source(bucket, manifest.data_key, instance)
                if instance.series_uid == series_uid and source.name in names:
                    found.setdefault(source.name, source)
        return found

    async def _make(self, series_id: str, sources: list[Source], replaces: list[str]) -> None:
        hospital, study_uid, series_uid = series_id.split("/")
        policy = (await self._ledger.policies()).get(hospital, Policy())
        scratch = self._settings.scratch_dir or None
        with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=scratch, ignore_cleanup_errors=True) as folder:
            written = await self._write_pack(
                sources, Path(folder), keep=policy.compression == "keep", renew=lambda: self._ledger.renew(series_id)
            )
            for source in written.damaged:
                await self._note_damaged(series_id, source.name, source.manifest_key)
            if not written.instances:
                return
            pack_id = collection_id([instance.sha256 for instance in written.instances])
            data_key = pack_key(hospital, study_uid, series_uid, pack_id)
            await self._store.put(ARCHIVE_BUCKET, data_key, written.path)
        await self._verify(data_key, written)
        key = manifest_key(data_key)
        manifest = Manifest(
            kind="pack",
            bucket=ARCHIVE_BUCKET,
            hospital=hospital,
            study_uid=study_uid,
            id=pack_id,
            data_key=data_key,
            instances=written.instances,
            traceparent=current_traceparent(),
            replaces=[pack for pack in replaces if pack != key],
        )
        await self._ledger.renew(series_id)
        await write_manifest(self._store, ARCHIVE_BUCKET, manifest)
        await self._ledger.note_pack(manifest, key)
        PACKED.labels(hospital, "received").inc(sum(i.original_length for i in written.instances))
        PACKED.labels(hospital, "stored").inc(written.size)
        SEALED.labels(hospital).inc(len(written.instances))
        log.info("pack sealed", hospital=hospital, instances=len(written.instances), bytes=written.size)

    async def _verify(self, data_key: str, written: Written) -> None:
        """Read the pack back. Its entries were rebuilt and compared before; so equal bytes mean equal files."""
        read = hashlib.sha256()
        async for piece in self._store.stream(ARCHIVE_BUCKET, data_key, 0, written.size, READ_BACK_BYTES):
            await asyncio.to_thread(read.update, piece)
        if read.hexdigest() != written.digest:
            raise PackNotVerified("the store gives a pack back with other bytes than were written")

    async def _lost(self, series_id: str, name: Name, batches: list[str]) -> None:
        for batch in batches:
            await self._note_damaged(series_id, name, batch)

    async def _note_damaged(self, series_id: str, name: Name, key: str) -> None:
        """Another staged copy is tried next; without one the instance is reported as lost, by name."""
        lost = await self._ledger.note_damaged(series_id, name, key)
        DAMAGED.labels("lost" if lost else "other copy").inc()
        log.error("a stored instance is damaged", series=series_id, sop_instance_uid=name[0], key=key, lost=lost)
