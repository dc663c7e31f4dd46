"""The object writer put together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import FastAPI

from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.mongo import connect
from imaging_common.objects.store import MinioObjectStore
from imaging_common.telemetry import get_logger, setup_telemetry, shutdown_telemetry
from object_writer.adapters.mongo_ledger import MongoLedger
from object_writer.adapters.pool import PoolCompressor
from object_writer.handlers import build_router
from object_writer.settings import ObjectWriterSettings
from object_writer.usecases import StoreKeeper

SERVICE = "object-writer"
log = get_logger(__name__)


async def repeat(name: str, seconds: float, round_: Callable[[], Awaitable[object]]) -> None:
    """Run `round_` for ever, with a pause while it finds nothing to do; what fails is told and comes again."""
    while True:
        found: object = None
        try:
            found = await round_()
        except Exception as error:
            log.warning("round failed", round=name, error=type(error).__name__, exc_info=error)
        if found is not True:
            await asyncio.sleep(seconds)


def build_app(settings: ObjectWriterSettings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or ObjectWriterSettings()
    setup_telemetry(SERVICE, settings)
    client = connect(settings)
    outbox = Outbox(client[settings.database])
    ledger = MongoLedger(client, settings.database, outbox, settings.lease_seconds)
    store = MinioObjectStore(settings)
    compressor = PoolCompressor(settings.compressors)
    keeper = StoreKeeper(settings, store, ledger, compressor)
    messaging = Messaging(SERVICE, settings)
    messaging.include(build_router(keeper, ledger))
    relay = OutboxRelay(outbox, messaging.publisher)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await ledger.prepare()
        await relay.start()
        await messaging.start()
        rounds = [
            asyncio.create_task(repeat("seal", settings.seal_poll_seconds, keeper.seal_next)),
            asyncio.create_task(repeat("sweep", settings.sweep_seconds, keeper.sweep_staging)),
            asyncio.create_task(repeat("clean-up", settings.sweep_seconds, keeper.clean_up)),
        ]
        try:
            yield
        finally:
            for task in rounds:
                task.cancel()
            await asyncio.gather(*rounds, return_exceptions=True)
            await messaging.stop()
            await relay.stop()
            compressor.close()
            await client.close()
            shutdown_telemetry()

    checks = {"kafka": messaging.check, "mongodb": ledger.check, "objects": store.check}
    return create_app(SERVICE, settings, lifespan=lifespan, checks=checks)
