"""The composition root of the indexer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import FastAPI
from prometheus_client import Counter

from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.mongo import connect
from imaging_common.objects.model import ARCHIVE_BUCKET, STAGING_BUCKET
from imaging_common.objects.store import MinioObjectStore
from imaging_common.telemetry import get_logger
from indexer.adapters.mongo_index import MongoIndex
from indexer.handlers import build_router
from indexer.settings import IndexerSettings
from indexer.usecases.announce_study import AnnounceStudy
from indexer.usecases.index_manifest import IndexManifest
from indexer.usecases.settle_quiet_studies import SettleQuietStudies
from indexer.usecases.sweep_objects import IndexObject, SweepObjects

SERVICE = "indexer"
FAILED = Counter("imaging_indexer_rounds_failed", "Periodic rounds that failed and come again", ["round"])
log = get_logger(__name__)


async def repeat(name: str, seconds: float, round_: Callable[[], Awaitable[object]]) -> None:
    """Run `round_` for ever with a pause between; what fails is counted and comes again with the next round."""
    while True:
        try:
            await round_()
        except Exception as error:
            FAILED.labels(name).inc()
            log.warning("round failed", round=name, error=type(error).__name__, exc_info=error)
        await asyncio.sleep(seconds)


def build_app(settings: IndexerSettings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or IndexerSettings()
    client = connect(settings)
    outbox = Outbox(client[settings.database])
    index = MongoIndex(client, client[settings.database], outbox, epoch=settings.epoch)
    store = MinioObjectStore(settings)
    index_manifest = IndexManifest(index, settings.quiet_seconds)
    index_object = IndexObject(index, store, index_manifest)
    sweep = SweepObjects(index, store, index_object)
    messaging = Messaging(SERVICE, settings)
    messaging.include(build_router(index, index_object, AnnounceStudy(index)))
    relay = OutboxRelay(outbox, messaging.publisher)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await index.prepare()
        await relay.start()
        await messaging.start()
        rounds = [
            asyncio.create_task(repeat("quiet", settings.quiet_poll_seconds, SettleQuietStudies(index))),
            asyncio.create_task(repeat("staging", settings.sweep_seconds, lambda: sweep(STAGING_BUCKET))),
            asyncio.create_task(repeat("archive", settings.archive_sweep_seconds, lambda: sweep(ARCHIVE_BUCKET))),
        ]
        try:
            yield
        finally:
            for task in rounds:
                task.cancel()
            await asyncio.gather(*rounds, return_exceptions=True)
            await messaging.stop()
            await relay.stop()
            await client.close()

    return create_app(SERVICE, settings, lifespan=lifespan, checks={"kafka": messaging.check, "mongodb": index.check})
