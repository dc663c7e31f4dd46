"""The EHR's window: `POST /launches` from server to server, `POST /launch` by the EHR's page, `GET /launch/here`."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from gateway.api.ehr import EHR_ROLE
from gateway.api.forms import field
from gateway.api.portal import Portal, identity_of
from gateway.api.windows import Attempts, end_cookie, framable, present, set_cross_site, viewer_path
from gateway.errors import LaunchRefused
from gateway.grants.model import CODE_SECONDS
from gateway.usecases.open_window import LaunchAsked, Window
from gateway.web.render import Renderer, language_of
from imaging_common.audit import who
from imaging_common.http import Access, access
from imaging_common.http.problems import Problem

SCRIPT = "launch.js"
MAX_FAILED = 100
"""Failed exchanges a minute of one address; a whole hospital may stand behind it."""
REFUSED = {409: "launch.used", 410: "launch.expired", 403: "launch.foreign", 404: "launch.expired"}


def build_launches(portal: Portal, renderer: Renderer) -> APIRouter:
    """The three routes."""
    router = APIRouter()
    attempts = Attempts(MAX_FAILED)
    opener = Opener(portal, renderer)

    @router.post("/launches", status_code=201, openapi_extra=access(Access.EHR))
    async def ask(request: Request) -> Response:
        """A code for one window: `{"code", "expires_in", "action"}`; the EHR's page posts it to `action` as `code`."""
        identity = identity_of(request)
        if identity.session is not None or EHR_ROLE not in identity.claims.roles:
            await portal.audit.record(
                action="launch", outcome="denied", reason="role-without-launches", **who(identity.claims)
            )
            raise Problem(403, "only an EHR's own account may ask for a window")
        try:
            asked = LaunchAsked.model_validate_json(await request.body())
        except ValidationError as error:
            where = [{"where": ".".join(map(str, e["loc"])), "problem": e["msg"]} for e in error.errors()]
            raise Problem(422, "the request does not fit", errors=where) from error
        try:
            code = await portal.windows.ask(identity.claims, asked)
        except LaunchRefused as refused:
            raise Problem(refused.status, str(refused)) from refused
        body = {"code": code, "expires_in": CODE_SECONDS, "action": f"{portal.settings.public_url}/launch"}
        return JSONResponse(body, 201, headers={"Cache-Control": "no-store"})

    @router.post("/launch", openapi_extra=access(Access.PUBLIC))
    async def enter(request: Request) -> Response:
        """Exchange a code for a window, once."""
        attempts.check(request)
        if not framable(portal):
            return opener.refused(request, 421, "launch.insecure")
        try:
            window = await portal.windows.exchange(
                await field(request, "code"),
                origin=request.headers.get("origin"),
                own=f"{request.url.scheme}://{request.headers.get('host', '')}",
                present=tuple(await present(portal, request)),
            )
        except LaunchRefused as refused:
            attempts.count(request)
            return opener.refused(request, refused.status, REFUSED[refused.status])
        return opener.opened(request, window)

    @router.get("/launch/here", openapi_extra=access(Access.PUBLIC))
    async def here(request: Request) -> Response:
        """Which grants the cookies of this request open: whether a window's cookie came back."""
        found: list[str] = []
        for session in await present(portal, request):
            subject = await portal.authenticator.subject(session.claims, session)
            found += [grant.grant_id for grant in subject.grants]
        return JSONResponse({"grants": sorted(set(found))}, headers={"Cache-Control": "no-store"})

    return router


class Opener:
    """The small page that a window begins with."""

    def __init__(self, portal: Portal, renderer: Renderer) -> None:
        self._portal = portal
        self._renderer = renderer
        self._script = f"/portal/static/{portal.static.fingerprint(SCRIPT)}/{SCRIPT}"

    def opened(self, request: Request, window: Window) -> Response:
        """Checks that the cookie came back and goes on to the viewer, else offers a new tab."""
        self._portal.authenticator.forget_subjects()
        response = self._page(
            request,
            200,
            key="launch.opening",
            grant=window.grant.grant_id,
            next=viewer_path(window.studies, language_of(request)),
            again=window.again,
        )
        if window.ended_portal:
            end_cookie(response, self._portal)
        if window.cookie is not None:
            lasts = int((window.grant.until - datetime.now(UTC)).total_seconds())
            set_cross_site(response, self._portal.window_cookie, window.cookie, lasts)
        return response

    def refused(self, request: Request, status: int, key: str) -> Response:
        """Why nothing opens, in words."""
        return self._page(request, status, key=key, grant="", next="", again="")

    def _page(self, request: Request, status: int, **context: Any) -> Response:
        return self._renderer.page(request, "launch.html", status=status, script=self._script, **context)
