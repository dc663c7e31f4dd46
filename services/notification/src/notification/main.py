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
from notification.deliveries.compose import compose_deliveries
from notification.feed.compose import compose_feeds
from notification.handlers import build_router
from notification.settings import NotificationSettings
from notification.webhooks.api import install_webhook_problems

SERVICE = "notification"


def build_app(settings: NotificationSettings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or NotificationSettings()
    setup_telemetry(SERVICE, settings)
    client = connect(settings)
    outbox = Outbox(client[settings.database])
    book = MongoNoticeBook(client, settings.database, outbox)
    messaging = Messaging(SERVICE, settings)
    feeds = compose_feeds(settings, client, settings.database, outbox, book)
    deliveries = compose_deliveries(settings, client)
    messaging.include(build_router(feeds.store, book, deliveries.store))
    relay = OutboxRelay(outbox, messaging.publisher)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await deliveries.start()
        await feeds.start()
        await relay.start()
        await messaging.start()
        try:
            yield
        finally:
            await messaging.stop()
            await relay.stop()
            await feeds.stop()
            await deliveries.stop()
            await client.close()
            shutdown_telemetry()

    checks = {"kafka": messaging.check, "mongodb": book.check}
    app = create_app(SERVICE, settings, lifespan=lifespan, checks=checks)
    app.include_router(feeds.api)
    app.include_router(deliveries.api)
    install_webhook_problems(app)
    return app
