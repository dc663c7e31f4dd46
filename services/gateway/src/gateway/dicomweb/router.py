"""DICOMweb of the region (PS3.18 §10): one root over all holders, and one root per holder."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request

from gateway.dicomweb.api.frames import build_frames
from gateway.dicomweb.api.qido import build_qido
from gateway.dicomweb.api.retrieve import build_retrieve
from gateway.dicomweb.api.store import build_store
from gateway.dicomweb.services import Services
from gateway.retrievals.retriever import Retriever
from gateway.usecases.store_annotations import StoreAnnotations
from imaging_common.access import Subject
from imaging_common.audit import AuditTrail
from imaging_common.index.read import StudyIndex
from imaging_common.messaging import EventPublisher
from imaging_common.objects.store import ObjectStore


def build_router(
    index: StudyIndex,
    store: ObjectStore,
    subject_of: Callable[[Request], Awaitable[Subject]],
    audit: AuditTrail,
    retriever: Retriever | None = None,
    publisher: EventPublisher | None = None,
    annotations: StoreAnnotations | None = None,
    mark_links: bool = False,
) -> APIRouter:
    """The resources below `/dicomweb`; `subject_of` raises 401 when nobody is signed in."""
    services = Services.build(index, store, subject_of, audit, retriever, publisher)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await services.decoder.stop()

    router = APIRouter(lifespan=lifespan)
    for part in (build_frames(services, mark_links=mark_links), build_qido(services), build_retrieve(services)):
        router.include_router(part)
    if annotations is not None:
        router.include_router(build_store(services, annotations))
    return router
