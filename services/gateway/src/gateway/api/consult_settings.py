"""Operators' pages of consults: `/portal/routing`, `/portal/experts`, `/portal/policies`, `/portal/statistics`.

The consult service decides who may change what; the pages show it, and say when somebody else was faster.
"""

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field
from gateway.api.hospitals import for_region_operators
from gateway.api.pages import unseen
from gateway.api.portal import Portal, session_of
from gateway.api.roles import for_operators
from gateway.consult_desk import application as applications
from gateway.consult_desk import settings
from gateway.errors import ConsultConflict, ConsultNotFound, ConsultRefused
from gateway.operations.model import operates
from gateway.usecases.search_studies import BODY_PARTS, MODALITIES
from gateway.web.consult_plots import counts, turnaround
from gateway.web.render import Renderer, language_of
from imaging_common.http import Access, access

MAX_FIELDS = 5000
BY = ("hospital", "expert", "month")
FIGURES = ("key", "name", "count", "issued", "overdue", "median_hours", "p90_hours")
DAYS_SHOWN = 90
OPERATORS, REGION = access(Access.HOSPITAL_OPERATOR), access(Access.REGION_OPERATOR)
_FORMULA = re.compile(r"^[=+\-@\t\r]")


async def large_form(request: Request) -> None:
    """Read the form before anybody else does: tables have many fields."""
    if request.headers.get("content-type", "").startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        await request.form(max_files=0, max_fields=MAX_FIELDS)


def build_consult_settings(portal: Portal, renderer: Renderer) -> APIRouter:
    """Four pages, each a form over one part of the consult service."""
    guards = [Depends(for_operators), Depends(large_form), Depends(csrf_protected)]
    router = APIRouter(prefix="/portal", dependencies=guards)
    region_only = [Depends(for_region_operators)]
    zone = ZoneInfo(portal.settings.time_zone)

    def token(request: Request) -> str:
        return session_of(request).tokens.access

    async def page(request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
        return renderer.page(
            request,
            template,
            status=status,
            hospitals={entry.hospital: entry for entry in await portal.registry.all()},
            unseen=await unseen(portal, request),
            levels=settings.LEVELS,
            urgencies=applications.URGENCIES,
            subspecialties=applications.SUBSPECIALTIES,
            **context,
        )

    async def read(request: Request, part: str) -> dict[str, Any] | None:
        """None: the service has nothing there for this person."""
        try:
            return dict(await portal.desk.read(token(request), part))
        except ConsultRefused:
            return None

    async def form_of(request: Request) -> dict[str, list[str]]:
        form = await request.form(max_files=0, max_fields=MAX_FIELDS)
        return {name: [str(value) for value in form.getlist(name)] for name in form}

    async def keep(request: Request, part: str, body: dict[str, Any]) -> tuple[int, str]:
        """The page's status, and what it says."""
        revision = await field(request, "revision")
        number = int(revision) if revision.isdecimal() and len(revision) < 9 else 0
        try:
            await portal.desk.keep(token(request), part, {"revision": number, **body})
        except ConsultConflict:
            return 409, "conflict"
        except ConsultNotFound as error:
            raise HTTPException(404) from error
        except ConsultRefused as refused:
            return (403 if refused.status == 403 else 422), "refused"
        return 200, "saved"

    async def routing_page(
        request: Request, *, rows: Any = None, message: str = "", status: int = 200, tried: Any = None, case: Any = None
    ) -> Response:
        table = await read(request, "routing")
        kept = table or {"revision": 0, "rows": []}
        return await page(
            request, "routing.html", status=status, known=table is not None, revision=kept["revision"],
            rows=kept["rows"] if rows is None else rows, message=message, tried=tried, case=case or {},
            modalities=MODALITIES, body_parts=list(BODY_PARTS),
        )  # fmt: skip

    @router.get("/routing", openapi_extra=REGION, dependencies=region_only)
    async def routing(request: Request) -> Response:
        """The decision table."""
        return await routing_page(request)

    @router.post("/routing", openapi_extra=REGION, dependencies=region_only)
    async def keep_routing(request: Request) -> Response:
        """Replace the table, if it is still as the page showed it."""
        rows = settings.read_rows(await form_of(request))
        status, message = await keep(request, "routing", {"rows": rows})
        return await routing_page(request, rows=rows if status != 200 else None, message=message, status=status)

    @router.post("/routing/try", openapi_extra=REGION, dependencies=region_only)
    async def try_routing(request: Request) -> Response:
        """Which row fires for a made-up case, and why the others do not."""
        case = {
            name: await field(request, f"try_{name}")
            for name in ("level", "subspecialty", "modality", "body_part", "urgency")
        }
        try:
            tried = await portal.desk.ask(token(request), "routing/try", {"case": case})
        except ConsultRefused:
            tried = None
        return await routing_page(request, tried=tried or {}, case=case, message="" if tried else "not-tried")

    async def experts_page(request: Request, *, message: str = "", status: int = 200, rows: Any = None) -> Response:
        kept = await read(request, "experts")
        claims = session_of(request).claims
        own = [entry for entry in await portal.registry.all() if operates(claims, entry.hospital)]
        return await page(
            request, "experts.html", status=status, known=kept is not None, revision=(kept or {}).get("revision", 0),
            experts=(kept or {}).get("experts", []) if rows is None else rows, message=message, shifts=settings.SHIFTS,
            own=own, today=datetime.now(zone).weekday(),
        )  # fmt: skip

    @router.get("/experts", openapi_extra=OPERATORS)
    async def experts(request: Request) -> Response:
        """Experts, their sub-specialties, and the week's roster."""
        return await experts_page(request)

    @router.post("/experts", openapi_extra=OPERATORS)
    async def keep_experts(request: Request) -> Response:
        """Replace the list, if it is still as the page showed it."""
        rows = settings.read_experts(await form_of(request))
        status, message = await keep(request, "experts", {"experts": rows})
        return await experts_page(request, message=message, status=status, rows=rows if status != 200 else None)

    async def policy_page(
        request: Request, hospital: str, *, message: str = "", status: int = 200, typed: Any = None
    ) -> Response:
        claims = session_of(request).claims
        own = [entry for entry in await portal.registry.all() if operates(claims, entry.hospital)]
        chosen = next((entry for entry in own if entry.hospital == hospital), own[0] if own and not hospital else None)
        if chosen is None:
            raise HTTPException(404)
        kept = await read(request, f"policies/{chosen.hospital}")
        blank = {"revision": 0, "second_reader": "never", "second_reader_modalities": [], "limits": {}}
        policy = {**blank, "letterhead": {}, **(kept or {}), **(typed or {})}
        return await page(
            request, "policies.html", status=status, known=kept is not None, own=own, chosen=chosen, policy=policy,
            message=message, second_readers=settings.SECOND_READER, limits=settings.LIMITS,
            letterhead=settings.LETTERHEAD,
        )  # fmt: skip

    @router.get("/policies", openapi_extra=OPERATORS)
    async def policies(request: Request, hospital: Annotated[str, Query(max_length=64)] = "") -> Response:
        """One hospital's policy."""
        return await policy_page(request, hospital)

    @router.post("/policies", openapi_extra=OPERATORS)
    async def keep_policy(request: Request) -> Response:
        """Replace it, if it is still as the page showed it."""
        hospital = await field(request, "hospital")
        known = {entry.hospital for entry in await portal.registry.all()}
        if hospital not in known or not operates(session_of(request).claims, hospital):
            raise HTTPException(404)
        body = settings.read_policy(await form_of(request), applications.URGENCIES)
        status, message = await keep(request, f"policies/{hospital}", body)
        return await policy_page(
            request, hospital, message=message, status=status, typed=body if status == 422 else None
        )  # fmt: skip

    async def figures(request: Request) -> dict[str, Any]:
        asked = request.query_params
        by = asked.get("by", "") if asked.get("by", "") in BY else "hospital"
        today = datetime.now(zone).date()
        until, since = _day(asked.get("to", ""), today), _day(asked.get("from", ""), today - timedelta(DAYS_SHOWN))
        wanted = {"by": by, "from": since.isoformat(), "to": until.isoformat()}
        try:
            found = await portal.desk.read(token(request), "statistics", wanted)
        except ConsultRefused:
            found = None
        rows = found.get("rows", []) if isinstance(found, dict) else found
        return {"by": by, "since": wanted["from"], "until": wanted["to"], "rows": rows or [], "known": rows is not None}

    @router.get("/statistics", openapi_extra=OPERATORS)
    async def statistics(request: Request) -> Response:
        """Counts and turnaround, with plots."""
        found = await figures(request)
        names = {entry.hospital: entry for entry in await portal.registry.all()}
        labels = {row["key"]: row.get("name") or row["key"] for row in found["rows"]}
        labels |= {key: entry.name(language_of(request)) for key, entry in names.items()}
        return await page(
            request, "statistics.html", **found, ways=BY, labels=labels, spans=turnaround(found["rows"], labels),
            columns=counts(found["rows"], labels),
        )  # fmt: skip

    @router.get("/statistics/export", openapi_extra=OPERATORS)
    async def export(request: Request) -> Response:
        """The same figures as CSV (RFC 4180, UTF-8 with a mark, for spreadsheets)."""
        found = await figures(request)
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(FIGURES)
        for row in found["rows"]:
            writer.writerow([_cell(row.get(name)) for name in FIGURES])
        name = f"consults-{found['by']}-{found['since']}-{found['until']}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return Response("\ufeff" + text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)

    return router


def _day(text: str, otherwise: date) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date() if text else otherwise
    except ValueError:
        return otherwise


def _cell(value: Any) -> Any:
    """A spreadsheet takes no cell for a formula (CSV injection)."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value
