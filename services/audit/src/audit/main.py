"""The audit service put together."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from audit.adapters.minio_vault import MinioVault
from audit.adapters.mongo_records import MongoRecordStore
from audit.anchoring import Anchoring
from audit.api import build_api
from audit.handlers import build_router
from audit.settings import AuditSettings
from audit.usecases import SERVICE
from imaging_common.auth import TokenVerifier
from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.mongo import connect
from imaging_common.telemetry import setup_telemetry, shutdown_telemetry


def build_app(settings: AuditSettings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or AuditSettings()
    setup_telemetry(SERVICE, settings)
    client = connect(settings)
    store = MongoRecordStore(client, settings.database)
    vault = MinioVault(settings)
    anchoring = Anchoring(store, vault, settings.anchor_seconds)
    messaging = Messaging(SERVICE, settings)
    messaging.include(build_router(store))

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await store.prepare()
        await messaging.start()
        await anchoring.start()
        try:
            yield
        finally:
            await anchoring.stop()
            await messaging.stop()
            await client.close()
            shutdown_telemetry()

    app = create_app(
        SERVICE,
        settings,
        lifespan=lifespan,
        checks={"kafka": messaging.check, "mongodb": store.check},
        details={"anchors": lambda: anchoring.state},
    )
    app.include_router(build_api(store, TokenVerifier.of(settings)))
    return app
