"""The portal's small pages: landing, language, static files."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected
from gateway.api.guard import safe_path
from gateway.api.portal import Portal, identity_of
from gateway.model import recipients_of
from gateway.web.i18n import LANGUAGES
from gateway.web.render import LANGUAGE_COOKIE, Renderer
from imaging_common.http import Access, access

YEAR_SECONDS = 365 * 24 * 3600


def build_pages(portal: Portal, renderer: Renderer) -> APIRouter:
    """The routes that need no image role."""
    router = APIRouter(dependencies=[Depends(csrf_protected)])

    @router.get("/", openapi_extra=access(Access.SIGNED_IN))
    @router.get("/portal", openapi_extra=access(Access.SIGNED_IN))
    async def home(request: Request) -> Response:
        """The first page is the work list of who is signed in."""
        identity_of(request)
        return RedirectResponse("/portal/home", 303)

    @router.get("/portal/welcome", openapi_extra=access(Access.PUBLIC))
    async def welcome(request: Request) -> Response:
        """Where one signs in."""
        if getattr(request.state, "identity", None) is not None:
            return RedirectResponse("/portal/home", 303)
        return renderer.page(request, "welcome.html", message="")

    @router.get("/portal/language/{language}", openapi_extra=access(Access.PUBLIC))
    async def language(language: str, next: Annotated[str | None, Query()] = None) -> Response:
        """Switch the language and go back."""
        if language not in LANGUAGES:
            raise HTTPException(404)
        response = RedirectResponse(safe_path(next), 303)
        response.set_cookie(
            LANGUAGE_COOKIE,
            language,
            max_age=YEAR_SECONDS,
            httponly=True,
            secure=portal.settings.secure,
            samesite="lax",
        )
        return response

    @router.get("/portal/static/{fingerprint}/{name:path}", openapi_extra=access(Access.PUBLIC))
    async def static(request: Request, fingerprint: str, name: str) -> Response:
        """A style sheet or script; its address changes with its content."""
        if name not in portal.static:
            raise HTTPException(404)
        return await portal.static.respond(name, request.headers, immutable=True)

    @router.get("/favicon.ico", openapi_extra=access(Access.PUBLIC))
    async def favicon(request: Request) -> Response:
        """The portal's sign."""
        return await portal.static.respond("favicon.svg", request.headers)

    return router


async def unseen(portal: Portal, request: Request) -> int:
    """How many notices this person has not seen."""
    claims = identity_of(request).claims
    return await portal.notices.unseen(recipients_of(claims), claims.user)


async def saw_case(portal: Portal, request: Request, consult_id: str) -> None:
    """This person has seen the notices that lead to a case."""
    claims = identity_of(request).claims
    for link in (f"/portal/consults/{consult_id}", f"/consults/{consult_id}"):
        await portal.notices.mark_seen(recipients_of(claims), claims.user, link=link)


def portal_link(link: str) -> str:
    """A notice's link, whether it is written from the portal's root or from the site's."""
    return safe_path(link if link.startswith("/portal") else "/portal/" + link.lstrip("/"))
