"""HTTP in: STOW-RS (PS3.18 §10.5). Only an edge agent's token stores, and only for its own hospital."""

import tempfile
from pathlib import Path
from typing import Annotated

import httpx
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from dicom_ingest.errors import BadRequest
from dicom_ingest.model import Sender, status_code, store_response
from dicom_ingest.multipart import PartCollector, boundary_of
from dicom_ingest.settings import Settings
from dicom_ingest.usecases import StoreInstances
from imaging_common.auth import InvalidToken, TokenVerifier
from imaging_common.http import Problem
from imaging_common.ids import Uid

EDGE_ROLE = "edge-agent"


def build_router(settings: Settings, store_instances: StoreInstances, verifier: TokenVerifier) -> APIRouter:
    """`POST /studies` and `POST /studies/{study}`."""
    router = APIRouter()

    async def sender(request: Request) -> Sender:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Problem(401, "a bearer token is needed", headers={"WWW-Authenticate": "Bearer"})
        try:
            claims = await verifier.verify(token)
        except InvalidToken as error:
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise Problem(401, str(error), headers=headers) from error
        except httpx.HTTPError as error:
            raise Problem(503, "the identity provider does not answer; try again") from error
        if EDGE_ROLE not in claims.roles or not claims.hospital:
            raise Problem(403, "only an edge agent of a known hospital may store")
        return Sender(claims.user, claims.hospital, has_edge=True)

    @router.post("/studies")
    async def store(request: Request, who: Annotated[Sender, Depends(sender)]) -> JSONResponse:
        """Store instances of any study."""
        return await _store(request, who, None)

    @router.post("/studies/{study_uid}")
    async def store_study(request: Request, study_uid: Uid, who: Annotated[Sender, Depends(sender)]) -> JSONResponse:
        """Store instances of one study."""
        return await _store(request, who, study_uid)

    async def _store(request: Request, who: Sender, study_uid: str | None) -> JSONResponse:
        try:
            boundary = boundary_of(request.headers.get("content-type", ""))
            with tempfile.TemporaryDirectory(prefix="stow-", dir=settings.scratch_dir or None) as folder:
                path = Path(folder) / "request"
                with path.open("wb") as file:
                    collector = PartCollector(
                        boundary,
                        file,
                        max_parts=settings.max_parts,
                        max_part=settings.max_instance_bytes,
                        max_total=settings.max_request_bytes,
                    )
                    await collector.read(request.stream())
                accepted, refused = await store_instances(who, path, collector.parts, study_uid)
        except BadRequest as error:
            raise Problem(error.status, str(error)) from error
        return JSONResponse(
            store_response(accepted, refused), status_code(accepted, refused), media_type="application/dicom+json"
        )

    return router
