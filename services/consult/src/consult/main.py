"""The consult service put together."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from consult.adapters.mongo_consults import MongoConsultStore
from consult.adapters.mongo_hospitals import MongoHospitalBook
from consult.api import build_api
from consult.handlers import build_router
from consult.settings import ConsultSettings
from consult.usecases import SERVICE, Consults
from imaging_common.audit import AuditTrail
from imaging_common.auth import TokenVerifier
from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.messaging.outbox_publisher import OutboxPublisher
from imaging_common.mongo import connect
from imaging_common.telemetry import setup_telemetry, shutdown_telemetry


def build_app(settings: ConsultSettings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or ConsultSettings()
    setup_telemetry(SERVICE, settings)
    client = connect(settings)
    outbox = Outbox(client[settings.database])
    store = MongoConsultStore(client, settings.database, outbox)
    hospitals = MongoHospitalBook(client[settings.database])
    consults = Consults(store, hospitals, AuditTrail(SERVICE, OutboxPublisher(outbox)))
    messaging = Messaging(SERVICE, settings)
    messaging.include(build_router(hospitals))
    relay = OutboxRelay(outbox, messaging.publisher)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await store.prepare()
        await relay.start()
        await messaging.start()
        try:
            yield
        finally:
            await messaging.stop()
            await relay.stop()
            await client.close()
            shutdown_telemetry()

    app = create_app(SERVICE, settings, lifespan=lifespan, checks={"kafka": messaging.check, "mongodb": store.check})
    app.include_router(build_api(consults, TokenVerifier.of(settings)))
    return app
