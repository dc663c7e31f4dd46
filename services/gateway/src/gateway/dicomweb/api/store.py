"""STOW-RS (PS3.18 §10.5) for the viewer: readers save annotations of studies they may see, and nothing else."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway.dicomweb.access import NOT_FOUND
from gateway.dicomweb.annotations import BadStoreRequest, boundary_of, parts_of, store_answer
from gateway.dicomweb.negotiation import DICOM_JSON
from gateway.dicomweb.services import Services
from gateway.errors import IngestRefused
from gateway.usecases.store_annotations import StoreAnnotations
from imaging_common.http import Access, access
from imaging_common.ids import is_uid

AT_ONCE = 4
"""Requests whose bodies are in memory at the same time."""


def build_store(services: Services, annotations: StoreAnnotations) -> APIRouter:
    """`POST /studies` and `POST /studies/{study}`; below a holder's root they go to that holder."""
    router = APIRouter()
    slots = asyncio.Semaphore(AT_ONCE)

    async def answer(request: Request, study: str | None) -> JSONResponse:
        subject = await services.subject_of(request)
        if study is not None and not is_uid(study):
            raise HTTPException(404, NOT_FOUND)
        if not annotations.allowed(subject):
            await annotations.refused(subject, study, "role-without-images")
            raise HTTPException(403, "only a doctor or expert who is signed in at the portal saves annotations")
        holder = request.path_params.get("holder")
        if study is not None and not await annotations.find(subject, study, holder):
            raise HTTPException(404, NOT_FOUND)
        try:
            boundary = boundary_of(request.headers.get("content-type", ""))
            async with slots:
                parts = await asyncio.to_thread(parts_of, await read_bounded(request, annotations.max_bytes), boundary)
                stored, refused = await annotations(subject, parts, study, holder)
        except BadStoreRequest as error:
            raise HTTPException(error.status, str(error)) from error
        except IngestRefused as error:
            if error.status == 507:
                raise HTTPException(507, "there is no room; try again later", {"Retry-After": "60"}) from error
            raise HTTPException(502, f"the ingest refused the annotations ({error.status})") from error
        status, document = store_answer(stored, refused)
        return JSONResponse(document, status, media_type=DICOM_JSON)

    for root in ("", "/hospitals/{holder}"):

        @router.post(f"{root}/studies", openapi_extra=access(Access.ANNOTATE))
        async def store(request: Request) -> JSONResponse:
            return await answer(request, None)

        @router.post(f"{root}/studies/{{study}}", openapi_extra=access(Access.ANNOTATE))
        async def store_study(request: Request, study: str) -> JSONResponse:
            return await answer(request, study)

    return router


async def read_bounded(request: Request, limit: int) -> bytes:
    """The body.

    Raises
    ------
    BadStoreRequest
        413, it is longer than `limit` bytes.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BadStoreRequest(413, f"annotations have at most {limit} bytes")
    return bytes(body)
