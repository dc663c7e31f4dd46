"""The consult service put together."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from consult.adapters.mongo_consults import MongoConsultStore
from consult.api import build_api
from consult.settings import ConsultSettings
from consult.usecases import SERVICE, Consults
from imaging_common.auth import TokenVerifier
from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.mongo import connect
from imaging_common.telemetry import setup_telemetry, shutdown_telemetry


def build_app(settings: ConsultSettings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or ConsultSettings()
    setup_telemetry(SERVICE, settings)
    client = connect(settings)
    outbox = Outbox(client[settings.database])
    store = MongoConsultStore(client, settings.database, outbox)
    messaging = Messaging(SERVICE, settings)
    relay = OutboxRelay(outbox, messaging.publisher)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await store.prepare()
        await messaging.start()
        await relay.start()
        try:
            yield
        finally:
            await relay.stop()
            await messaging.stop()
            await client.close()
            shutdown_telemetry()

    app = create_app(SERVICE, settings, lifespan=lifespan, checks={"kafka": messaging.check, "mongodb": store.check})
    app.include_router(build_api(Consults(store), TokenVerifier(settings.oidc_issuer, settings.oidc_audience)))
    return app
