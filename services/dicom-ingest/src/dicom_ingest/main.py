"""The ingest put together."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI

from dicom_ingest.api import SCRATCH_PREFIX, build_router
from dicom_ingest.api_reports import build_report_router
from dicom_ingest.dimse import Acceptor
from dicom_ingest.settings import Settings
from dicom_ingest.usecases.collect_instances import CollectInstances
from dicom_ingest.usecases.store_catalogue import StoreCatalogue
from dicom_ingest.usecases.store_instances import StoreInstances
from dicom_ingest.usecases.store_report import StoreReport
from imaging_common.audit import AuditTrail
from imaging_common.auth import TokenVerifier
from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.objects.scratch import remove_old
from imaging_common.objects.store import MinioObjectStore

SERVICE = "dicom-ingest"
SCRATCH_AGE_SECONDS = 24 * 3600.0


def build_app(settings: Settings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or Settings()
    messaging = Messaging(SERVICE, settings)
    store = MinioObjectStore(settings)
    audit = AuditTrail(SERVICE, messaging.publisher)
    store_instances = StoreInstances(store, messaging.publisher, audit)
    verifier = TokenVerifier.of(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(remove_old, settings.scratch_dir, SCRATCH_PREFIX, SCRATCH_AGE_SECONDS)
        await messaging.start()
        try:
            async with contextlib.AsyncExitStack() as stack:
                if settings.dimse_port:
                    await stack.enter_async_context(accept_associations(settings, store_instances))
                yield
        finally:
            await messaging.stop()

    app = create_app(SERVICE, settings, lifespan=lifespan, checks={"kafka": messaging.check, "objects": store.check})
    app.include_router(build_router(settings, store_instances, StoreCatalogue(store), verifier, audit))
    app.include_router(build_report_router(settings, StoreReport(store, messaging.publisher, audit), verifier, audit))
    return app


@contextlib.asynccontextmanager
async def accept_associations(settings: Settings, store_instances: StoreInstances) -> AsyncIterator[Acceptor]:
    """The C-STORE SCP and what stages its instances, as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=settings.scratch_dir or None) as name:
        folder = Path(name)
        collect = CollectInstances(
            store_instances,
            folder,
            batch_bytes=settings.batch_bytes,
            batch_instances=settings.batch_instances,
        )
        staging = asyncio.create_task(collect.run())
        acceptor = Acceptor(settings, collect, folder)
        acceptor.start(asyncio.get_running_loop())
        try:
            yield acceptor
        finally:
            await asyncio.to_thread(acceptor.stop)
            staging.cancel()
            await asyncio.gather(staging, return_exceptions=True)
