"""HTTP in: STOW-RS (PS3.18 §10.5) and catalogues; who may store is decided in `api_senders`."""

import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from dicom_ingest.api_senders import sender_from
from dicom_ingest.errors import BadRequest, ScratchFull
from dicom_ingest.model import RETRIEVAL_ID, Outcome, Sender, status_code, store_response
from dicom_ingest.multipart import Limits, PartReader, boundary_of
from dicom_ingest.settings import Settings
from dicom_ingest.usecases.store_catalogue import StoreCatalogue
from dicom_ingest.usecases.store_instances import StoreInstances
from imaging_common.audit import AuditTrail
from imaging_common.auth import TokenVerifier
from imaging_common.http import Access, Problem, access
from imaging_common.ids import is_uid
from imaging_common.objects.store import StoreFull

SCRATCH_PREFIX = "imaging-stow-"
ANSWER = "application/dicom+json"
CATALOGUE = "application/vnd.imaging.catalogue+zstd"
ACCEPTABLE = frozenset({ANSWER, "application/json", "application/*", "*/*"})


def build_router(
    settings: Settings,
    store_instances: StoreInstances,
    store_catalogue: StoreCatalogue,
    verifier: TokenVerifier,
    audit: AuditTrail,
) -> APIRouter:
    """`POST /studies`, `POST /studies/{study}` and `POST /studies/{study}/catalogue`."""
    router = APIRouter()
    sender = sender_from(settings, verifier, audit, portal=True)
    edge = sender_from(settings, verifier, audit)

    @router.post("/studies", openapi_extra=access(Access.STORE))
    async def store(request: Request, who: Annotated[Sender, Depends(sender)]) -> JSONResponse:
        """Store instances of any study."""
        return await answer(request, who, None)

    @router.post("/studies/{study_uid}", openapi_extra=access(Access.STORE))
    async def store_study(
        request: Request, study_uid: str, who: Annotated[Sender, Depends(sender)], retrieval: str | None = None
    ) -> JSONResponse:
        """Store instances of one study; with `retrieval` they are copies for the cache tier."""
        check_study(study_uid)
        if retrieval is not None and RETRIEVAL_ID.fullmatch(retrieval) is None:
            raise Problem(400, "the retrieval in the address is no id: 32 digits of hexadecimal, lower case")
        if retrieval is not None and not who.has_edge:
            raise Problem(400, "only a hospital's edge agent brings what was retrieved from its PACS")
        return await answer(request, who, study_uid, retrieval)

    @router.post("/studies/{study_uid}/catalogue", openapi_extra=access(Access.EDGE))
    async def store_study_catalogue(
        request: Request, study_uid: str, who: Annotated[Sender, Depends(edge)]
    ) -> JSONResponse:
        """Store what a PACS says of one study."""
        check_study(study_uid)
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != CATALOGUE:
            raise Problem(415, f"the body must be {CATALOGUE}")
        try:
            key = await store_catalogue(who, study_uid, await read_bounded(request, settings.max_catalogue_bytes))
        except BadRequest as error:
            raise Problem(error.status, str(error)) from error
        except StoreFull as error:
            raise no_room() from error
        return JSONResponse({"key": key})

    async def answer(
        request: Request, who: Sender, study_uid: str | None, retrieval_id: str | None = None
    ) -> JSONResponse:
        if not accepts_answer(request.headers.get("accept", "")):
            raise Problem(406, f"the answer is {ANSWER} (PS3.18 §10.5.3)")
        try:
            boundary = boundary_of(request.headers.get("content-type", ""))
            outcomes = await receive(request, boundary, who, study_uid, retrieval_id)
        except BadRequest as error:
            raise Problem(error.status, str(error)) from error
        except (StoreFull, ScratchFull) as error:
            raise no_room() from error
        root = f"{settings.dicomweb_url.rstrip('/')}/hospitals/{who.hospital}/studies" if settings.dicomweb_url else ""
        return JSONResponse(store_response(outcomes, root), status_code(outcomes), media_type=ANSWER)

    async def receive(
        request: Request, boundary: bytes, who: Sender, study_uid: str | None, retrieval_id: str | None
    ) -> list[Outcome]:
        limits = Limits(
            parts=settings.max_parts,
            part_bytes=settings.max_instance_bytes,
            total_bytes=settings.max_request_bytes,
            file_bytes=settings.batch_bytes,
            file_parts=settings.batch_instances,
            memory_bytes=settings.memory_bytes,
        )
        outcomes: list[Outcome] = []
        with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=settings.scratch_dir or None) as folder:
            async with aclosing(PartReader(boundary, Path(folder), limits).read(request.stream())) as files:
                async for file in files:
                    outcomes += await store_instances(who, file.content, file.parts, study_uid, retrieval_id)
                    file.remove()
        return outcomes

    return router


def check_study(study_uid: str) -> None:
    """Answer 400 when the study in the address is none."""
    if not is_uid(study_uid):
        raise Problem(400, "the study in the address is no UID (PS3.5 §9.1)")


def no_room() -> Problem:
    """The object store or the scratch volume is full."""
    return Problem(507, "there is no room; try again later", headers={"Retry-After": "60"})


async def read_bounded(request: Request, limit: int) -> bytes:
    """The body.

    Raises
    ------
    BadRequest
        413, it is longer than `limit` bytes.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BadRequest(413, f"the body has at most {limit} bytes")
    return bytes(body)


def accepts_answer(accept: str) -> bool:
    """Whether the client takes DICOM JSON (RFC 9110 §12.5.1)."""
    wanted = [entry.split(";") for entry in accept.split(",") if entry.strip()]
    kinds = {kind.strip().lower() for kind, *options in wanted if "q=0" not in [o.strip() for o in options]}
    return not wanted or bool(kinds & ACCEPTABLE)
