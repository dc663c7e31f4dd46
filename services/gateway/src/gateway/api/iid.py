"""`GET /IHEInvokeImageDisplay` (RAD-106): goes on to the viewer. A request waits for the sign-in on the server: what it
names stands in no redirect and no log."""

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from gateway.api.auth import BROWSER, SIGN_IN_SECONDS
from gateway.api.portal import Portal
from gateway.api.roles import for_image_roles
from gateway.api.windows import viewer_path
from gateway.usecases.authenticate import digest
from gateway.usecases.invoke_display import DisplayRefused, display_studies, read_request
from gateway.web.render import Renderer, language_of
from imaging_common.http import Access, access
from imaging_common.http.problems import Problem

PATH = "/IHEInvokeImageDisplay"
KEPT = f"{PATH}/kept"
NAMES = frozenset(
    {
        "requestType", "studyUID", "accessionNumber", "patientID", "mostRecentResults", "lowerDateTime",
        "upperDateTime", "modalitiesInStudy", "viewerType", "diagnosticQuality", "keyImagesOnly",
    }
)  # fmt: skip
MAX_VALUE = 4_000
REFUSED = {400: "iid.bad", 404: "iid.not-found", 406: "iid.unsupported"}


def build_iid(portal: Portal, renderer: Renderer) -> APIRouter:
    """The request, and where a browser comes back to after its sign-in."""
    router = APIRouter()
    zone = ZoneInfo(portal.settings.time_zone)

    async def show(request: Request, query: Mapping[str, str]) -> Response:
        await for_image_roles(request)
        subject = await portal.subject_of(request)
        try:
            found = await display_studies(portal.index, portal.audit, subject, read_request(query), zone)
        except DisplayRefused as refused:
            return refuse(request, refused)
        path = viewer_path(tuple(found), language_of(request))
        return RedirectResponse(path, 303, headers={"Cache-Control": "no-store"})

    def refuse(request: Request, refused: DisplayRefused) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            raise Problem(refused.status, f"the images cannot be displayed: {refused.reason}")
        return renderer.page(request, "error.html", status=refused.status, key=REFUSED[refused.status])

    @router.get(PATH, openapi_extra=access(Access.VIEWER))
    async def invoke(request: Request) -> Response:
        """Show the studies of a request, or sign in first."""
        query = {name: request.query_params[name][:MAX_VALUE] for name in NAMES if name in request.query_params}
        if getattr(request.state, "identity", None) is not None:
            return await show(request, query)
        browser = request.cookies.get(portal.sign_in_cookie, "")
        if not BROWSER.fullmatch(browser):
            browser = secrets.token_urlsafe(32)
        until = datetime.now(UTC) + timedelta(seconds=SIGN_IN_SECONDS)
        await portal.access_grants.keep_request(f"iid:{digest(browser)}", query, until)
        response = RedirectResponse(f"/auth/login?next={KEPT}", 303, headers={"Cache-Control": "no-store"})
        response.set_cookie(
            portal.sign_in_cookie, browser, max_age=SIGN_IN_SECONDS, httponly=True, secure=portal.settings.secure,
            samesite="lax", path="/",
        )  # fmt: skip
        return response

    @router.get(KEPT, openapi_extra=access(Access.VIEWER), dependencies=[Depends(for_image_roles)])
    async def kept(request: Request) -> Response:
        """The request this browser came with before it signed in."""
        browser = request.cookies.get(portal.sign_in_cookie, "")
        query = await portal.access_grants.take_request(f"iid:{digest(browser)}", datetime.now(UTC))
        if query is None or not re.fullmatch(BROWSER, browser):
            return refuse(request, DisplayRefused(400, "no-request-kept"))
        return await show(request, query)

    return router
