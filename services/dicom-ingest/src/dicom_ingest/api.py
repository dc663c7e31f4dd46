"""HTTP in: STOW-RS (PS3.18 §10.5). Only an edge agent's token stores, and only for its own hospital."""

import tempfile
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from dicom_ingest.errors import BadRequest, ScratchFull
from dicom_ingest.model import Outcome, Sender, is_hospital, status_code, store_response
from dicom_ingest.multipart import Limits, PartReader, boundary_of
from dicom_ingest.settings import Settings
from dicom_ingest.usecases.store_instances import StoreInstances
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.http import Problem, bearer_claims
from imaging_common.ids import is_uid
from imaging_common.objects.store import StoreFull

EDGE_ROLE = "edge-agent"
SCRATCH_PREFIX = "imaging-stow-"
ANSWER = "application/dicom+json"
ACCEPTABLE = frozenset({ANSWER, "application/json", "application/*", "*/*"})


def build_router(
    settings: Settings, store_instances: StoreInstances, verifier: TokenVerifier, audit: AuditTrail
) -> APIRouter:
    """`POST /studies` and `POST /studies/{study}`."""
    router = APIRouter()
    sender = sender_from(verifier, audit)

    @router.post("/studies")
    async def store(request: Request, who: Annotated[Sender, Depends(sender)]) -> JSONResponse:
        """Store instances of any study."""
        return await answer(request, who, None)

    @router.post("/studies/{study_uid}")
    async def store_study(request: Request, study_uid: str, who: Annotated[Sender, Depends(sender)]) -> JSONResponse:
        """Store instances of one study."""
        if not is_uid(study_uid):
            raise Problem(400, "the study in the address is no UID (PS3.5 §9.1)")
        return await answer(request, who, study_uid)

    async def answer(request: Request, who: Sender, study_uid: str | None) -> JSONResponse:
        if not accepts_answer(request.headers.get("accept", "")):
            raise Problem(406, f"the answer is {ANSWER} (PS3.18 §10.5.3)")
        try:
            boundary = boundary_of(request.headers.get("content-type", ""))
            outcomes = await receive(request, boundary, who, study_uid)
        except BadRequest as error:
            raise Problem(error.status, str(error)) from error
        except (StoreFull, ScratchFull) as error:
            raise Problem(507, "there is no room; try again later", headers={"Retry-After": "60"}) from error
        root = f"{settings.dicomweb_url.rstrip('/')}/hospitals/{who.hospital}/studies" if settings.dicomweb_url else ""
        return JSONResponse(store_response(outcomes, root), status_code(outcomes), media_type=ANSWER)

    async def receive(request: Request, boundary: bytes, who: Sender, study_uid: str | None) -> list[Outcome]:
        limits = Limits(
            parts=settings.max_parts,
            part_bytes=settings.max_instance_bytes,
            total_bytes=settings.max_request_bytes,
            file_bytes=settings.batch_bytes,
            file_parts=settings.batch_instances,
        )
        outcomes: list[Outcome] = []
        with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=settings.scratch_dir or None) as folder:
            async with aclosing(PartReader(boundary, Path(folder), limits).read(request.stream())) as files:
                async for file in files:
                    outcomes += await store_instances(who, file.path, file.parts, study_uid)
                    file.path.unlink()
        return outcomes

    return router


def sender_from(verifier: TokenVerifier, audit: AuditTrail) -> Callable[[Request], Awaitable[Sender]]:
    """A dependency that knows the sender by the bearer token (RFC 6750), and audits whom it turns away."""

    async def sender(request: Request) -> Sender:
        try:
            claims = await bearer_claims(request, verifier)
        except Problem as problem:
            if isinstance(problem.__cause__, InvalidToken):
                await audit.record(action="store", outcome="denied", reason="invalid-token", user="")
            raise
        if reason := refusal(claims):
            await audit.record(
                action="store", outcome="denied", reason=reason, user=claims.user, hospital=claims.hospital
            )
            raise Problem(403, "only an edge agent of a known hospital may store")
        return Sender(claims.user, claims.hospital, has_edge=True)

    return sender


def refusal(claims: Claims) -> str:
    """Why this user may not store; empty: it may."""
    if EDGE_ROLE not in claims.roles:
        return "not-an-edge-agent"
    return "" if is_hospital(claims.hospital) else "no-hospital"


def accepts_answer(accept: str) -> bool:
    """Whether the client takes DICOM JSON (RFC 9110 §12.5.1)."""
    wanted = [entry.split(";") for entry in accept.split(",") if entry.strip()]
    kinds = {kind.strip().lower() for kind, *options in wanted if "q=0" not in [o.strip() for o in options]}
    return not wanted or bool(kinds & ACCEPTABLE)
