"""The portal's small pages: landing, language, notices, static files."""

from typing import Annotated
from urllib.parse import urlsplit

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

NOTICES_SHOWN = 50
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

    @router.get("/portal/notices", openapi_extra=access(Access.SIGNED_IN))
    async def notices(request: Request) -> Response:
        """What this person was told; opening the list is seeing it."""
        claims = identity_of(request).claims
        latest = await portal.notices.latest(recipients_of(claims), claims.user, NOTICES_SHOWN)
        shown = [{**notice, "link": portal_link(notice["link"])} for notice in latest]
        await portal.notices.mark_seen(recipients_of(claims), claims.user)
        return renderer.page(request, "notices.html", notices=shown, unseen=0)

    @router.get("/portal/notices/count", openapi_extra=access(Access.SIGNED_IN))
    async def notice_count(request: Request) -> Response:
        """The bell; what leads to the page that is on this person's screen is seen."""
        shown = urlsplit(request.headers.get("hx-current-url", "")).path
        if request.headers.get("x-visible") == "1" and shown.startswith("/portal/consults/"):
            await saw_case(portal, request, shown.rsplit("/", 1)[-1])
        return renderer.page(request, "_bell.html", unseen=await unseen(portal, request))

    return router


async def unseen(portal: Portal, request: Request) -> int:
    """How many notices this person has not seen."""
    claims = identity_of(request).claims
    return await portal.notices.unseen(recipients_of(claims), claims.user)


async def saw_case(portal: Portal, request: Request, consult_id: str) -> None:
    """This person has seen the notices that lead to a case."""
    claims = identity_of(request).claims
    for link in (f"/portal/consults/{consult_id}", f"/consults/{consult_id}"):
        await portal.notices.mark_seen(recipients_of(claims), claims.user, link)


def portal_link(link: str) -> str:
    """A notice's link, whether it is written from the portal's root or from the site's."""
    return safe_path(link if link.startswith("/portal") else "/portal/" + link.lstrip("/"))
