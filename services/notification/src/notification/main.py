"""The notification service put together."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.mongo import connect
from imaging_common.telemetry import setup_telemetry, shutdown_telemetry
from notification.adapters.mongo_notices import MongoNoticeBook
from notification.handlers import build_router
from notification.settings import NotificationSettings

SERVICE = "notification"


def build_app(settings: NotificationSettings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or NotificationSettings()
    setup_telemetry(SERVICE, settings)
    client = connect(settings)
    outbox = Outbox(client[settings.database])
    book = MongoNoticeBook(client, settings.database, outbox)
    messaging = Messaging(SERVICE, settings)
    messaging.include(build_router(settings.organisations, messaging.publisher, book))
    relay = OutboxRelay(outbox, messaging.publisher)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await relay.start()
        await messaging.start()
        try:
            yield
        finally:
            await messaging.stop()
            await relay.stop()
            await client.close()
            shutdown_telemetry()

    return create_app(SERVICE, settings, lifespan=lifespan, checks={"kafka": messaging.check, "mongodb": book.check})
