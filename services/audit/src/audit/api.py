"""HTTP in: the record, for auditors only."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime

from audit.exports.dicom import DOCUMENT_BEGIN, DOCUMENT_END, audit_message
from audit.exports.fhir import audit_event
from audit.model import Link, Position, RecordQuery
from audit.ports import RecordStore
from audit.usecases import export_records, note_look, read_records, read_summary
from imaging_common.audit import Action
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, Problem, access, bearer_claims
from imaging_common.ids import Uid

AUDITOR = "auditor"
MAX_PAGE = 500
MAX_OFFSET = 100_000
MAX_IDS = 500
Text = Annotated[str, Query(max_length=200)]


def build_api(store: RecordStore, verifier: TokenVerifier) -> APIRouter:
    """`GET /records`, `GET /records/summary` and `GET /records/export`."""
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
        query: Annotated[RecordQuery, Depends(query_from)],
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    ) -> list[dict[str, Any]]:
        """Records that match, the newest first; `Link: …; rel="next"` where there are more."""
        page, more = await read_records(store, who, query, limit, offset)
        if more:
            last = str(Position.of(page[-1]))
            following = request.url.remove_query_params("offset").include_query_params(after=last, limit=limit)
            response.headers["Link"] = f'</records?{following.query}>; rel="next"'
        return page

    @router.get("/records/summary", openapi_extra=access(Access.AUDITOR))
    async def summary(
        who: Annotated[Claims, Depends(auditor)], query: Annotated[RecordQuery, Depends(query_from)]
    ) -> dict[str, Any]:
        """Who looked, of the records that match: `people`, by hospital, who looked last first; `more`: not all."""
        people, more = await read_summary(store, who, query)
        return {"people": [asdict(one) for one in people], "more": more}

    @router.get("/records/export", openapi_extra=access(Access.AUDITOR))
    async def export(
        who: Annotated[Claims, Depends(auditor)],
        query: Annotated[RecordQuery, Depends(query_from)],
        format: Literal["fhir", "dicom"] = "fhir",
    ) -> StreamingResponse:
        """All records that match, streamed: FHIR AuditEvent as NDJSON, or DICOM audit messages in one XML document."""
        links = await export_records(store, who, query)
        if format == "fhir":
            return StreamingResponse(_fhir(links), media_type="application/fhir+ndjson", headers=_file("ndjson"))
        return StreamingResponse(_dicom(links), media_type="application/xml", headers=_file("xml"))

    return router


def query_from(
    user: Text | None = None,
    study_uid: Uid | None = None,
    consult_id: Text | None = None,
    action: Action | None = None,
    outcome: Literal["success", "denied", "failed"] | None = None,
    hospital: Text | None = None,
    grant_id: Text | None = None,
    resident: Annotated[list[Text] | None, Query(max_length=MAX_IDS)] = None,
    study: Annotated[list[Uid] | None, Query(max_length=MAX_IDS)] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    after: Text | None = None,
) -> RecordQuery:
    """What the address asks for; `resident` and `study`, each repeated, together are a resident's access log."""
    return RecordQuery(
        user=user,
        study_uid=study_uid,
        consult_id=consult_id,
        action=action,
        outcome=outcome,
        hospital=hospital,
        grant_id=grant_id,
        residents=tuple(resident or ()),
        studies=tuple(study or ()),
        since=_utc(since),
        until=_utc(until),
        after=_place(after),
    )


async def _fhir(links: AsyncIterator[Link]) -> AsyncIterator[bytes]:
    async for link in links:
        yield audit_event(link["record"])


async def _dicom(links: AsyncIterator[Link]) -> AsyncIterator[bytes]:
    yield DOCUMENT_BEGIN
    async for link in links:
        yield audit_message(link["record"])
    yield DOCUMENT_END


def _file(ending: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="audit.{ending}"'}


def _utc(at: datetime | None) -> datetime | None:
    return at.astimezone(UTC) if at else None


def _place(text: str | None) -> Position | None:
    try:
        return Position.parse(text) if text else None
    except (ValueError, OverflowError) as error:
        raise Problem(422, "`after` is no place in the record") from error
