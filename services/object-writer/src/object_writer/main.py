"""The object writer put together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import FastAPI
from prometheus_client import Counter

from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.mongo import connect
from imaging_common.objects.scratch import remove_old
from imaging_common.objects.store import MinioObjectStore
from imaging_common.telemetry import get_logger
from object_writer.adapters.mongo_ledger import MongoLedger
from object_writer.adapters.pool import PoolCompressor
from object_writer.handlers import build_router
from object_writer.settings import ObjectWriterSettings
from object_writer.usecases.adopt_packs import AdoptPacks
from object_writer.usecases.clean_up import CleanUp
from object_writer.usecases.note_batch import NoteBatch
from object_writer.usecases.seal_series import SCRATCH_PREFIX, SealSeries
from object_writer.usecases.sweep_archive import RemindIndex, SweepArchive
from object_writer.usecases.sweep_staging import SweepStaging
from object_writer.usecases.write_pack import WritePack

SERVICE = "object-writer"
FAILED = Counter("imaging_object_writer_rounds_failed", "Periodic rounds that failed and come again", ["round"])
log = get_logger(__name__)


async def repeat(name: str, seconds: float, round_: Callable[[], Awaitable[object]]) -> None:
    """Run `round_` for ever, with a pause unless it asks for another; what fails is counted and comes again."""
    while True:
        found: object = None
        try:
            found = await round_()
        except Exception as error:
            FAILED.labels(name).inc()
            log.warning("round failed", round=name, error=type(error).__name__, exc_info=error)
        if found is not True:
            await asyncio.sleep(seconds)


def build_app(settings: ObjectWriterSettings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or ObjectWriterSettings()
    client = connect(settings)
    outbox = Outbox(client[settings.database])
    ledger = MongoLedger(client, settings.database, outbox, settings.lease_seconds)
    store = MinioObjectStore(settings)
    compressor = PoolCompressor(settings.compressors)
    note_batch = NoteBatch(store, ledger)
    adopt_packs = AdoptPacks(store, ledger)
    write_pack = WritePack(store, compressor, settings.compressors)
    seal = SealSeries(settings, store, ledger, write_pack, adopt_packs)
    messaging = Messaging(SERVICE, settings)
    messaging.include(build_router(note_batch, ledger))
    relay = OutboxRelay(outbox, messaging.publisher)

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
        ("scratch", settings.sweep_seconds, remove_scratch),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await ledger.prepare()
        await relay.start()
        await messaging.start()
        tasks = [asyncio.create_task(repeat(name, pause, round_)) for name, pause, round_ in rounds]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await messaging.stop()
            await relay.stop()
            compressor.close()
            await client.close()

    checks = {"kafka": messaging.check, "mongodb": ledger.check, "objects": store.check}
    return create_app(SERVICE, settings, lifespan=lifespan, checks=checks)
