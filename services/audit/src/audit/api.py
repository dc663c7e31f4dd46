"""HTTP in: the record, for auditors only."""

from datetime import datetime
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Depends, Query, Request

from audit.ports import RecordStore
from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.http import Problem
from imaging_common.ids import Uid

AUDITOR = "auditor"
MAX_PAGE = 500


def build_api(store: RecordStore, verifier: TokenVerifier) -> APIRouter:
    """`GET /records`."""
    router = APIRouter()

    async def auditor(request: Request) -> Claims:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Problem(401, "a bearer token is needed", headers={"WWW-Authenticate": "Bearer"})
        try:
            claims = await verifier.verify(token)
        except InvalidToken as error:
            raise Problem(401, str(error), headers={"WWW-Authenticate": "Bearer"}) from error
        except httpx.HTTPError as error:
            raise Problem(503, "the identity provider does not answer; try again") from error
        if AUDITOR not in claims.roles:
            raise Problem(403, "only an auditor reads the audit record")
        return claims

    @router.get("/records")
    async def records(
        who: Annotated[Claims, Depends(auditor)],
        user: str | None = None,
        study_uid: Uid | None = None,
        action: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> list[dict[str, Any]]:
        """Records that match, the newest first."""
        criteria: dict[str, Any] = {
            f"record.{name}": value
            for name, value in (("user", user), ("study_uid", study_uid), ("action", action))
            if value is not None
        }
        bounds = {op: at.isoformat() for op, at in (("$gte", since), ("$lt", until)) if at is not None}
        if bounds:
            criteria["record.at"] = bounds
        return await store.search(criteria, limit, offset)

    return router
