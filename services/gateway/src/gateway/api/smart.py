"""`GET /smart/launch` and `GET /smart/callback`: the portal as a SMART app of the registered EHRs."""

import secrets

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from gateway.api.auth import BROWSER, SIGN_IN_SECONDS
from gateway.api.launches import MAX_FAILED, Opener
from gateway.api.portal import Portal
from gateway.api.windows import Attempts, framable, present, set_cross_site
from gateway.errors import LaunchRefused
from gateway.web.render import Renderer
from imaging_common.http import Access, access

REFUSED = {410: "launch.expired", 502: "launch.smart-away"}


def build_smart(portal: Portal, renderer: Renderer) -> APIRouter:
    """Both routes; the state is tied to the frame by a cookie of its own."""
    router = APIRouter(prefix="/smart")
    opener = Opener(portal, renderer)
    attempts = Attempts(MAX_FAILED)

    def refused(request: Request, failure: LaunchRefused) -> Response:
        attempts.count(request)
        return opener.refused(request, failure.status, REFUSED.get(failure.status, "launch.smart-refused"))

    @router.get("/launch", openapi_extra=access(Access.PUBLIC))
    async def launch(request: Request, iss: str = "", launch: str = "") -> Response:
        """An EHR launches the portal: on to its authorization endpoint."""
        attempts.check(request)
        if not framable(portal):
            return opener.refused(request, 421, "launch.insecure")
        browser = request.cookies.get(portal.smart_cookie, "")
        if not BROWSER.fullmatch(browser):
            browser = secrets.token_urlsafe(32)
        try:
            address = await portal.smart.begin(iss, launch, browser)
        except LaunchRefused as failure:
            return refused(request, failure)
        response = RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})
        set_cross_site(response, portal.smart_cookie, browser, SIGN_IN_SECONDS)
        return response

    @router.get("/callback", openapi_extra=access(Access.PUBLIC))
    async def callback(request: Request, state: str = "", code: str = "", error: str = "") -> Response:
        """Take the EHR's answer and open the window."""
        attempts.check(request)
        try:
            window = await portal.smart.complete(
                state=state,
                code="" if error else code,
                browser=request.cookies.get(portal.smart_cookie, ""),
                present=tuple(await present(portal, request)),
            )
        except LaunchRefused as failure:
            return refused(request, failure)
        return opener.opened(request, window)

    return router
