"""`/portal/audit`: auditors read who saw and did what, and take it with them; nothing of a search in an address."""

from typing import Any, get_args
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field
from gateway.api.pages import unseen
from gateway.api.portal import Portal, identity_of, session_of
from gateway.api.roles import RoleRefused
from gateway.errors import AuditUnavailable
from gateway.usecases.read_audit import FIELDS, OUTCOMES, PAGE, AuditSearch, read_access_log
from gateway.web.render import Renderer, wants_fragment
from imaging_common.audit import Action
from imaging_common.http import Access, access

AUDITOR = "auditor"
ACTIONS = tuple(sorted(get_args(Action)))
EXPORTS = {"fhir": ("application/fhir+ndjson", "ndjson"), "dicom": ("application/xml", "xml")}


async def for_auditors(request: Request) -> None:
    """Refuse everybody else."""
    if AUDITOR not in identity_of(request).claims.roles:
        raise RoleRefused("not-an-auditor", "the account may not read the audit record")


def build_audit(portal: Portal, renderer: Renderer) -> APIRouter:
    """The page, its table (by POST) and the export (by POST)."""
    router = APIRouter(prefix="/portal/audit", dependencies=[Depends(for_auditors), Depends(csrf_protected)])
    zone = ZoneInfo(portal.settings.time_zone)

    async def answer(request: Request, form: dict[str, str]) -> Response:
        search = AuditSearch.read(form, ACTIONS)
        links: list[dict[str, Any]] = []
        following, problem, log = "", search.problem, None
        if not problem:
            params = await search.params(portal.index, zone)
            token = session_of(request).tokens.access
            try:
                log = await read_access_log(portal.records, token, params)
                links, following = await portal.records.search(token, {**params, "limit": str(PAGE)})
            except AuditUnavailable:
                problem = "audit.away"
        return renderer.page(
            request,
            "_audit.html" if wants_fragment(request) else "audit.html",
            status=422 if search.problem else 503 if problem else 200,
            records=[link["record"] | {"stream": link["stream"], "seq": link["seq"]} for link in links],
            following=following,
            log=log,
            form=dict.fromkeys(FIELDS, "") | dict(search.values),
            problem=problem,
            actions=ACTIONS,
            outcomes=OUTCOMES,
            hospitals={entry.hospital: entry for entry in await portal.registry.all()},
            unseen=await unseen(portal, request),
        )

    @router.get("", openapi_extra=access(Access.AUDITOR))
    async def audit(request: Request) -> Response:
        """The newest records and the form."""
        return await answer(request, {})

    @router.post("/search", openapi_extra=access(Access.AUDITOR))
    async def search(request: Request) -> Response:
        """Records that match; the look itself goes on record."""
        return await answer(request, {name: await field(request, name) for name in FIELDS})

    @router.post("/export/{form}", openapi_extra=access(Access.AUDITOR))
    async def export(request: Request, form: str) -> Response:
        """All records that match, as FHIR AuditEvent (NDJSON) or DICOM audit messages (XML)."""
        if form not in EXPORTS:
            raise HTTPException(404)
        wanted = AuditSearch.read({name: await field(request, name) for name in FIELDS} | {"after": ""}, ACTIONS)
        if wanted.problem:
            raise HTTPException(422, "the search does not hold; look at its fields")
        params = await wanted.params(portal.index, zone)
        body = await portal.records.export(session_of(request).tokens.access, params, form)
        kind, ending = EXPORTS[form]
        return StreamingResponse(
            body,
            media_type=kind,
            headers={"Content-Disposition": f'attachment; filename="audit.{ending}"', "Cache-Control": "no-store"},
        )

    return router
