"""The ingest put together."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from dicom_ingest.api import build_router
from dicom_ingest.settings import Settings
from dicom_ingest.usecases import StoreInstances
from imaging_common.audit import AuditTrail
from imaging_common.auth import TokenVerifier
from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.objects.store import MinioObjectStore
from imaging_common.telemetry import setup_telemetry, shutdown_telemetry

SERVICE = "dicom-ingest"


def build_app(settings: Settings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or Settings()
    setup_telemetry(SERVICE, settings)
    messaging = Messaging(SERVICE, settings)
    store = MinioObjectStore(settings)
    audit = AuditTrail(SERVICE, messaging.publisher)
    store_instances = StoreInstances(store, messaging.publisher, audit)
    verifier = TokenVerifier(settings.oidc_issuer, settings.oidc_audience)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await messaging.start()
        try:
            yield
        finally:
            await messaging.stop()
            shutdown_telemetry()

    app = create_app(SERVICE, settings, lifespan=lifespan, checks={"kafka": messaging.check, "objects": store.check})
    app.include_router(build_router(settings, store_instances, verifier))
    return app
