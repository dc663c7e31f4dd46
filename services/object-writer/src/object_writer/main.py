"""The object writer put together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import FastAPI

from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.mongo import connect
from imaging_common.objects.scratch import remove_old
from imaging_common.objects.store import MinioObjectStore
from imaging_common.repeating import Repeating, stop_all
from object_writer.adapters.mongo_cache_ledger import MongoCacheLedger
from object_writer.adapters.mongo_deletions import MongoDeletions
from object_writer.adapters.mongo_ledger import MongoLedger
from object_writer.adapters.mongo_usage import MongoStorageSums
from object_writer.adapters.pool import PoolCompressor
from object_writer.handlers import build_check_router, build_router
from object_writer.settings import ObjectWriterSettings
from object_writer.usecases.adopt_packs import AdoptPacks
from object_writer.usecases.check_study import CheckStudy
from object_writer.usecases.clean_up import CleanUp
from object_writer.usecases.evict_cache import EvictCache, RemoveEvicted
from object_writer.usecases.measure_storage import MeasureStorage
from object_writer.usecases.note_batch import NoteBatch
from object_writer.usecases.note_cached import NoteCached
from object_writer.usecases.purge_deleted import PurgeDeleted, RemovePurged
from object_writer.usecases.seal_series import SCRATCH_PREFIX, SealSeries
from object_writer.usecases.sweep_archive import RemindIndex, SweepArchive
from object_writer.usecases.sweep_cache import SweepCache
from object_writer.usecases.sweep_staging import SweepStaging
from object_writer.usecases.write_pack import WritePack

SERVICE = "object-writer"
TURN_SECONDS = 30.0
"""After a copy was killed another one goes on with the cache tier."""


def build_app(settings: ObjectWriterSettings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or ObjectWriterSettings()
    client = connect(settings)
    outbox = Outbox(client[settings.database])
    ledger = MongoLedger(client, settings.database, outbox, settings.lease_seconds)
    cache = MongoCacheLedger(client, settings.database, outbox, min(settings.lease_seconds, TURN_SECONDS))
    deletions = MongoDeletions(client, settings.database, outbox)
    store = MinioObjectStore(settings)
    compressor = PoolCompressor(settings.compressors)
    note_batch = NoteBatch(store, ledger)
    note_cached = NoteCached(store, cache)
    evict_cache = EvictCache(settings, ledger, cache)
    adopt_packs = AdoptPacks(store, ledger)
    write_pack = WritePack(store, compressor, settings.compressors)
    seal = SealSeries(settings, store, ledger, write_pack, adopt_packs)
    messaging = Messaging(SERVICE, settings)
    messaging.include(build_check_router(CheckStudy(store, ledger, adopt_packs)))
    messaging.include(build_router(note_batch, note_cached, ledger, cache, deletions))
    relay = OutboxRelay(outbox, messaging.publisher)

    measure = MeasureStorage(MongoStorageSums(client, settings.database), messaging.publisher, settings.cache_bytes)

    async def remove_scratch() -> None:
        await asyncio.to_thread(remove_old, settings.scratch_dir, SCRATCH_PREFIX, settings.orphan_seconds)

    rounds: list[tuple[str, float, Callable[[], Awaitable[object]]]] = [
        ("seal", settings.seal_poll_seconds, seal.seal_next),
        ("sweep-staging", settings.sweep_seconds, SweepStaging(store, ledger, note_batch, settings.orphan_seconds)),
        (
            "sweep-archive",
            settings.archive_sweep_seconds,
            SweepArchive(store, adopt_packs, settings.orphan_seconds),
        ),
        ("remind", settings.sweep_seconds, RemindIndex(ledger, settings.remind_seconds)),
        ("clean-up", settings.sweep_seconds, CleanUp(store, ledger, settings.grace_seconds)),
        ("sweep-cache", settings.sweep_seconds, SweepCache(store, cache, note_cached, settings.orphan_seconds)),
        ("evict", settings.cache_seconds, evict_cache),
        ("remove-evicted", settings.cache_seconds, RemoveEvicted(store, cache, note_cached)),
        ("purge", settings.purge_seconds, PurgeDeleted(store, deletions, cache)),
        ("remove-purged", settings.purge_seconds, RemovePurged(store, ledger, deletions)),
        ("measure", settings.usage_seconds, measure),
        ("scratch", settings.sweep_seconds, remove_scratch),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        for one in (ledger, cache, deletions):
            await one.prepare()
        await relay.start()
        await messaging.start()
        loops = [Repeating(name, round_, pause) for name, pause, round_ in rounds]
        for loop in loops:
            await loop.start()
        try:
            yield
        finally:
            await stop_all(loops)
            await messaging.stop()
            await relay.stop()
            compressor.close()
            await client.close()

    checks = {"kafka": messaging.check, "mongodb": ledger.check, "objects": store.check}
    details = {"cache": evict_cache.detail}
    return create_app(SERVICE, settings, lifespan=lifespan, checks=checks, details=details)
