"""HTTP in: the record, for auditors only."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime

from audit.model import Position, RecordQuery
from audit.ports import RecordStore
from audit.usecases import note_look, read_records
from imaging_common.audit import Action
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, Problem, access, bearer_claims
from imaging_common.ids import Uid

AUDITOR = "auditor"
MAX_PAGE = 500
MAX_OFFSET = 100_000
Text = Annotated[str, Query(max_length=200)]


def build_api(store: RecordStore, verifier: TokenVerifier) -> APIRouter:
    """`GET /records`."""
    router = APIRouter()

    async def auditor(request: Request) -> Claims:
        claims = await bearer_claims(request, verifier)
        if AUDITOR not in claims.roles:
            await note_look(store, claims, "denied", reason="not-an-auditor")
            raise Problem(403, "only an auditor reads the audit record")
        return claims

    @router.get("/records", openapi_extra=access(Access.AUDITOR))
    async def records(
        request: Request,
        response: Response,
        who: Annotated[Claims, Depends(auditor)],
        user: Text | None = None,
        study_uid: Uid | None = None,
        consult_id: Text | None = None,
        action: Action | None = None,
        outcome: Literal["success", "denied", "failed"] | None = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        after: Text | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    ) -> list[dict[str, Any]]:
        """Records that match, the newest first; `Link: …; rel="next"` where there are more."""
        query = RecordQuery(user, study_uid, consult_id, action, outcome, _utc(since), _utc(until), _place(after))
        page, more = await read_records(store, who, query, limit, offset)
        if more:
            last = str(Position.of(page[-1]))
            following = request.url.remove_query_params("offset").include_query_params(after=last, limit=limit)
            response.headers["Link"] = f'</records?{following.query}>; rel="next"'
        return page

    return router


def _utc(at: datetime | None) -> datetime | None:
    return at.astimezone(UTC) if at else None


def _place(text: str | None) -> Position | None:
    try:
        return Position.parse(text) if text else None
    except (ValueError, OverflowError) as error:
        raise Problem(422, "`after` is no place in the record") from error
