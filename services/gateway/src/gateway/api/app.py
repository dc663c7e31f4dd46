"""Puts the guard, the routes and the error pages on an application."""

from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from pymongo.errors import PyMongoError
from starlette.exceptions import HTTPException

from gateway.api.apply import build_apply
from gateway.api.audit import build_audit
from gateway.api.auth import build_auth
from gateway.api.backchannel import build_backchannel
from gateway.api.boxes import build_boxes
from gateway.api.break_glass import build_break_glass
from gateway.api.cases import build_cases
from gateway.api.cases.verify import build_verify
from gateway.api.consult_settings import build_consult_settings
from gateway.api.dead_letters import build_dead_letters
from gateway.api.ehr import build_ehr
from gateway.api.guard import Guard
from gateway.api.home import build_home
from gateway.api.hospitals import build_hospitals
from gateway.api.iid import build_iid
from gateway.api.launches import build_launches
from gateway.api.live import build_live
from gateway.api.notices import build_notices
from gateway.api.onboarding import build_onboarding
from gateway.api.orders import build_orders
from gateway.api.pages import build_pages
from gateway.api.patients import build_patients
from gateway.api.portal import Portal, identity_of
from gateway.api.reading import build_reading
from gateway.api.removal import build_removal
from gateway.api.reports import build_reports
from gateway.api.residents import build_residents
from gateway.api.roles import NoImageRole, RoleRefused
from gateway.api.shares import build_shares
from gateway.api.smart import build_smart
from gateway.api.storage import build_storage
from gateway.api.studies import build_studies
from gateway.api.subscriptions import build_subscriptions
from gateway.api.uploads import build_uploads
from gateway.api.viewer import build_viewer
from gateway.api.viewing import build_viewing
from gateway.api.workitems import build_workitems
from gateway.errors import ConsultRefused, ConsultUnavailable
from gateway.fhir.router import build_fhir
from gateway.web.render import Renderer, wants_fragment
from imaging_common.audit import who
from imaging_common.errors import RetryableError
from imaging_common.http.problems import problem
from imaging_common.objects.ports import ObjectDamaged

_log = structlog.get_logger(__name__)
AWAY = "a part of the system is away; try again"
TITLES = {
    403: "error.forbidden",
    404: "error.not-found",
    405: "error.not-found",
    429: "error.too-often",
    503: "error.away",
}


def install(app: FastAPI, portal: Portal, dicomweb: APIRouter) -> None:
    """Add everything; the viewer's routes come last, they take what is left."""
    renderer = Renderer(portal.static, portal.settings.time_zone)
    app.include_router(dicomweb, prefix="/dicomweb")  # first: routes are tried in order, and these are asked most
    app.include_router(build_workitems(portal))
    app.include_router(build_auth(portal, renderer))
    app.include_router(build_backchannel(portal))
    app.include_router(build_live(portal))
    app.include_router(build_pages(portal, renderer))
    app.include_router(build_notices(portal, renderer))
    app.include_router(build_home(portal, renderer))
    app.include_router(build_studies(portal, renderer))
    app.include_router(build_patients(portal, renderer))
    app.include_router(build_uploads(portal, renderer))
    app.include_router(build_apply(portal, renderer))
    app.include_router(build_boxes(portal, renderer))  # before the case: `/rows` is no case
    app.include_router(build_cases(portal, renderer))
    app.include_router(build_verify(portal, renderer))
    app.include_router(build_consult_settings(portal, renderer))
    app.include_router(build_orders(portal, renderer))
    app.include_router(build_removal(portal, renderer))
    app.include_router(build_reports(portal, renderer))
    app.include_router(build_residents(portal, renderer))
    app.include_router(build_audit(portal, renderer))
    for operators in (build_hospitals, build_onboarding, build_dead_letters, build_storage):
        app.include_router(operators(portal, renderer, portal.operations))
    app.include_router(build_subscriptions(portal, renderer))
    app.include_router(build_viewing(portal, renderer))
    app.include_router(build_ehr(portal))
    app.include_router(build_fhir(portal))
    app.include_router(build_reading(portal, renderer))
    for windows in (build_launches, build_shares, build_break_glass, build_iid, build_smart):
        app.include_router(windows(portal, renderer))
    app.include_router(build_viewer(portal))
    _add_error_pages(app, renderer, portal)

    def closed_to_windows(request: Request) -> Response:
        return renderer.page(request, "error.html", status=403, key="error.window")

    app.add_middleware(Guard, portal=portal, closed_to_windows=closed_to_windows)


def _add_error_pages(app: FastAPI, renderer: Renderer, portal: Portal) -> None:
    """People get a page in their language, programs a problem document."""

    def answer(request: Request, status: int, key: str, detail: str, headers: Any = None) -> Response:
        if not _for_people(request):
            return problem(status, detail, headers)
        fragment = wants_fragment(request)
        page = renderer.page(request, "_error.html" if fragment else "error.html", status=status, key=key)
        page.headers.update(headers or {})
        if fragment:
            page.headers["HX-Retarget"] = "#flash"
            page.headers["HX-Reswap"] = "innerHTML"
        return page

    original: Any = app.exception_handlers[HTTPException]

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        if isinstance(error, RoleRefused):
            claims = identity_of(request).claims
            await portal.audit.record(action="search", outcome="denied", reason=error.reason, count=0, **who(claims))
        if not _for_people(request) or error.status_code < 400:
            response: Response = await original(request, error)
            return response
        key = "error.no-role" if isinstance(error, NoImageRole) else TITLES.get(error.status_code, "error.other")
        return answer(request, error.status_code, key, str(error.detail), error.headers)

    crashed: Any = app.exception_handlers[Exception]

    @app.exception_handler(Exception)
    async def on_crash(request: Request, error: Exception) -> Response:
        logged: Response = await crashed(request, error)
        return answer(request, 500, "error.other", "") if _for_people(request) else logged

    @app.exception_handler(ObjectDamaged)
    async def on_damaged(request: Request, error: ObjectDamaged) -> Response:
        _log.error("stored-object-damaged", text=str(error))
        return answer(request, 500, "error.other", "the stored file is damaged and is not served; it was logged")

    @app.exception_handler(ConsultUnavailable)
    async def on_consult_away(request: Request, error: ConsultUnavailable) -> Response:
        _log.warning("dependency-away", error=type(error).__name__, text=str(error))
        return answer(
            request, 503, "error.consult-away", "the consult service is away; try again", {"Retry-After": "5"}
        )

    @app.exception_handler(RetryableError)
    async def on_away(request: Request, error: RetryableError) -> Response:
        _log.warning("dependency-away", error=type(error).__name__, text=str(error))
        return answer(request, 503, "error.away", AWAY, {"Retry-After": "5"})

    @app.exception_handler(PyMongoError)
    async def on_store_away(request: Request, error: PyMongoError) -> Response:
        _log.warning("dependency-away", error=type(error).__name__)
        return answer(request, 503, "error.away", AWAY, {"Retry-After": "5"})

    @app.exception_handler(ConsultRefused)
    async def on_consult_refused(request: Request, error: ConsultRefused) -> Response:
        status = 404 if error.status == 404 else 403
        return answer(request, status, TITLES[status], str(error))


def _for_people(request: Request) -> bool:
    path = request.url.path
    if path.startswith(("/dicomweb", "/fhir/", "/health", "/metrics")):
        return False
    return wants_fragment(request) or "text/html" in request.headers.get("accept", "")
