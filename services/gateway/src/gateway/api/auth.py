"""Sign-in at the OIDC provider, and sign-out there and here."""

import re
import secrets

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from gateway.api.cases.signing import sign_now, signing_ended
from gateway.api.forms import csrf_protected
from gateway.api.guard import safe_path
from gateway.api.portal import Portal, session_of
from gateway.api.windows import Attempts
from gateway.errors import SignInFailed
from gateway.usecases.sign_in import Proven
from gateway.web.render import Renderer, language_of
from imaging_common.http import Access, access

BROWSER = re.compile(r"[A-Za-z0-9_-]{43}")
SIGN_IN_SECONDS = 600
MAX_BEGUN, MAX_FAILED = 300, 60
"""Sign-ins begun, and failed, a minute of one address; a whole hospital may stand behind it."""


def build_auth(portal: Portal, renderer: Renderer) -> APIRouter:
    """`/auth/login`, `/auth/callback`, `/auth/logout`."""
    router = APIRouter(prefix="/auth")
    begun, failures = Attempts(MAX_BEGUN), Attempts(MAX_FAILED)
    cookie = {"httponly": True, "secure": portal.settings.secure, "samesite": "lax", "path": "/"}

    @router.get("/login", openapi_extra=access(Access.PUBLIC))
    async def login(request: Request, next: str | None = None) -> Response:
        """Send the browser to the provider."""
        begun.check(request)
        begun.count(request)
        browser = request.cookies.get(portal.sign_in_cookie, "")
        if not BROWSER.fullmatch(browser):
            browser = secrets.token_urlsafe(32)
        address = await portal.sign_in.begin(
            browser=browser, next_path=safe_path(next or "/portal"), language=language_of(request)
        )
        response = RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})
        response.set_cookie(portal.sign_in_cookie, browser, max_age=SIGN_IN_SECONDS, **cookie)  # type: ignore[arg-type]
        return response

    @router.get("/callback", openapi_extra=access(Access.PUBLIC))
    async def callback(request: Request, state: str = "", code: str = "", error: str = "") -> Response:
        """Take the provider's answer."""
        failures.check(request)
        browser = request.cookies.get(portal.sign_in_cookie, "")
        if error and state and (signing := await portal.sign_in.cancelled(browser=browser, state=state)):
            return signing_ended(signing, "cancelled")
        try:
            if error or not code or not state:
                raise SignInFailed("the provider did not sign in")
            signed_in = await portal.sign_in.complete(
                browser=browser, state=state, code=code, cookie=request.cookies.get(portal.cookie, "")
            )
        except SignInFailed as failure:
            failures.count(request)
            await portal.sign_in.refused(str(failure))
            return renderer.page(request, "welcome.html", status=400, message="signin.failed")
        if isinstance(signed_in, Proven):
            return await sign_now(portal, signed_in)
        response = RedirectResponse(safe_path(signed_in.next_path), 303, headers={"Cache-Control": "no-store"})
        response.set_cookie(portal.cookie, signed_in.cookie, **cookie)  # type: ignore[arg-type]
        return response

    @router.post("/logout", dependencies=[Depends(csrf_protected)], openapi_extra=access(Access.SIGNED_IN))
    async def logout(request: Request) -> Response:
        """End the session here; the page that answers ends the provider's, by POST: its hint names the person."""
        session = session_of(request)
        address = await portal.sign_in.sign_out(session)
        portal.authenticator.forget(session)
        request.state.identity = None
        response: Response
        if address:
            response = renderer.page(
                request,
                "sign_out.html",
                address=address,
                id_token=session.tokens.id,
                back=f"{portal.settings.public_url}/portal/welcome",
            )
            origin = "/".join(address.split("/")[:3])
            response.headers["Content-Security-Policy"] = (
                f"default-src 'self'; base-uri 'none'; form-action 'self' {origin}; frame-ancestors 'none'"
            )
        else:
            response = RedirectResponse("/portal/welcome", 303)
        response.delete_cookie(portal.cookie, **cookie)  # type: ignore[arg-type]
        return response

    return router
