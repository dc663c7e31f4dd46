"""Removes staged batches and replaced packs after the grace; the only place that deletes what was whole."""

from datetime import UTC, datetime, timedelta

from imaging_common.objects.model import ARCHIVE_BUCKET, STAGING_BUCKET
from imaging_common.objects.store import ObjectStore
from imaging_common.telemetry import get_logger
from object_writer.ports import Ledger
from object_writer.usecases.sweep_staging import REMOVED

log = get_logger(__name__)


class CleanUp:
    """Manifests first, so that none is ever without its data."""

    def __init__(self, store: ObjectStore, ledger: Ledger, grace_seconds: float) -> None:
        self._store = store
        self._ledger = ledger
        self._grace = timedelta(seconds=grace_seconds)

    async def __call__(self) -> bool:
        """Remove what is due; whether there may be more."""
        before = datetime.now(UTC) - self._grace
        batches = await self._ledger.removable_batches(before)
        for key in batches:
            await self._remove(STAGING_BUCKET, key, "batch")
        packs = await self._ledger.removable_packs(before)
        for key in packs:
            await self._remove(ARCHIVE_BUCKET, key, "pack")
        if batches or packs:
            log.info("cleaned up", batches=len(batches), packs=len(packs))
        return bool(batches or packs)

    async def _remove(self, bucket: str, key: str, kind: str) -> None:
        await self._store.delete(bucket, key)
        await self._store.delete(bucket, f"{key.removesuffix('.json')}.{kind}")
        await self._ledger.forget(key)
        REMOVED.labels(kind).inc()
