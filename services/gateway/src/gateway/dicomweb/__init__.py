"""DICOMweb: QIDO-RS and WADO-RS over the index and the object store.

The import of the router waits for its call, so that the decoding processes, which live in this package, start lightly.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import APIRouter, Request

    from gateway.retrievals.retriever import Retriever
    from gateway.usecases.store_annotations import StoreAnnotations
    from imaging_common.access import Subject
    from imaging_common.audit import AuditTrail
    from imaging_common.index.read import StudyIndex
    from imaging_common.messaging import EventPublisher
    from imaging_common.objects.store import ObjectStore


def build_dicomweb_router(
    index: "StudyIndex",
    store: "ObjectStore",
    subject_of: "Callable[[Request], Awaitable[Subject]]",
    audit: "AuditTrail",
    retriever: "Retriever | None" = None,
    publisher: "EventPublisher | None" = None,
    annotations: "StoreAnnotations | None" = None,
    mark_links: bool = False,
) -> "APIRouter":
    """The resources to be mounted below `/dicomweb`; `subject_of` raises 401 when nobody is signed in.

    `retriever` brings what lies at its hospital only, `publisher` takes word of what is in use; without them only what
    lies in the centre is served. `annotations` stores what readers save; without it nothing is. `mark_links`: pictures
    that leave by a share link carry a watermark.
    """
    from gateway.dicomweb.router import build_router

    return build_router(index, store, subject_of, audit, retriever, publisher, annotations, mark_links)


__all__ = ["build_dicomweb_router"]
