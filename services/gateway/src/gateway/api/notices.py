"""`/portal/notices` (the bell's list), `/portal/preferences` (how one is told), `/portal/deliveries` (the log)."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response

from gateway.api.forms import csrf_protected, field, fields
from gateway.api.hospitals import REGION, for_region_operators
from gateway.api.pages import portal_link, saw_case, unseen
from gateway.api.portal import Portal, identity_of, session_of
from gateway.errors import SystemsRefused
from gateway.model import recipients_of
from gateway.web.render import Renderer, wants_fragment
from imaging_common.http import Access, access

NOTICES_SHOWN = 50
LOG_SHOWN = 100
SEEN_AT_ONCE = 500
"""The store marks at most so many in one step."""
GROUPS = ("work", "progress", "reports", "discussion", "limits", "operations")
CHANNELS = ("e-mail", "sms")
STATES = ("waiting", "sent", "undeliverable", "not-needed")
PREFERENCES = "/notifications/preferences"
SIGNED_IN = access(Access.SIGNED_IN)


def build_notices(portal: Portal, renderer: Renderer) -> APIRouter:
    """Three pages."""
    router = APIRouter(prefix="/portal", dependencies=[Depends(csrf_protected)])

    async def ask(request: Request, method: str, path: str, **more: Any) -> Any:
        return await portal.systems.ask(session_of(request).tokens.access, method, path, **more)

    async def listed(request: Request) -> list[dict[str, Any]]:
        claims = identity_of(request).claims
        latest = await portal.notices.latest(recipients_of(claims), claims.user, NOTICES_SHOWN)
        return [{**notice, "link": portal_link(notice["link"])} for notice in latest]

    @router.get("/notices", openapi_extra=SIGNED_IN)
    async def notices(request: Request) -> Response:
        """What this person was told, the newest first."""
        shown, count = await listed(request), await unseen(portal, request)
        return renderer.page(request, "notices.html", notices=shown, unseen=count)

    @router.get("/notices/list", openapi_extra=SIGNED_IN)
    async def notice_list(request: Request) -> Response:
        """The list alone, as it is now."""
        shown, count = await listed(request), await unseen(portal, request)
        return renderer.page(request, "_notices.html", notices=shown, unseen=count)

    @router.post("/notices/seen", openapi_extra=SIGNED_IN)
    async def seen(request: Request) -> Response:
        """This person has read one notice (`notice`), or all of them: no other channel needs to tell them."""
        claims, one = identity_of(request).claims, await field(request, "notice")
        marked = SEEN_AT_ONCE
        while marked == SEEN_AT_ONCE:
            marked = await portal.notices.mark_seen(recipients_of(claims), claims.user, notice_id=one or None)
        if not wants_fragment(request):
            return RedirectResponse("/portal/notices", 303)
        answer = await notice_list(request)
        answer.headers["HX-Trigger"] = "portal:seen"
        return answer

    @router.get("/notices/count", openapi_extra=SIGNED_IN)
    async def notice_count(request: Request) -> Response:
        """The bell; what leads to the page that is on this person's screen is seen."""
        shown = urlsplit(request.headers.get("hx-current-url", "")).path
        if request.headers.get("x-visible") == "1" and shown.startswith("/portal/consults/"):
            await saw_case(portal, request, shown.rsplit("/", 1)[-1])
        return renderer.page(request, "_bell.html", unseen=await unseen(portal, request))

    async def preferences_page(request: Request, chosen: dict[str, Any], message: str, status: int = 200) -> Response:
        return renderer.page(
            request,
            "preferences.html",
            status=status,
            chosen=chosen,
            shown=shown_to(identity_of(request).claims.roles),
            channels=CHANNELS,
            message=message,
            unseen=await unseen(portal, request),
        )

    @router.get("/preferences", openapi_extra=SIGNED_IN)
    async def preferences(request: Request) -> Response:
        """How this person is told outside the portal."""
        return await preferences_page(request, await ask(request, "GET", PREFERENCES), "")

    @router.post("/preferences", openapi_extra=SIGNED_IN)
    async def choose(request: Request) -> Response:
        """Keep it; what was typed stays on the page when it cannot be kept."""
        shown = shown_to(identity_of(request).claims.roles)
        wanted: dict[str, Any] = {
            "channels": {group: [c for c in await fields(request, group) if c in CHANNELS] for group in shown},
            "language": await field(request, "language") or None,
            "quiet": None,
        }
        if await field(request, "quiet"):
            wanted["quiet"] = {name: await field(request, name) for name in ("start", "end")}
        try:
            kept = await ask(request, "PUT", PREFERENCES, body=wanted)
        except SystemsRefused:
            return await preferences_page(request, wanted, "preferences.bad", 422)
        return await preferences_page(request, kept, "desk.saved")

    @router.get("/deliveries", openapi_extra=REGION, dependencies=[Depends(for_region_operators)])
    async def deliveries(
        request: Request,
        state: str = "",
        channel: str = "",
        user: Annotated[str, Query(max_length=100)] = "",
        before: Annotated[str, Query(max_length=40)] = "",
    ) -> Response:
        """What went to whom, and what could not; addresses are masked."""
        asked = {
            "state": state if state in STATES else "",
            "channel": channel if channel in CHANNELS else "",
            "user": user.strip(),
        }
        params = {name: text for name, text in {**asked, "before": before}.items() if text}
        try:
            rows = await ask(request, "GET", "/notifications/deliveries", params=params)
        except SystemsRefused:
            rows = []
        return renderer.page(
            request,
            "deliveries.html",
            rows=rows,
            more=len(rows) >= LOG_SHOWN,
            form=asked,
            states=STATES,
            channels=CHANNELS,
            unseen=await unseen(portal, request),
        )

    return router


def shown_to(roles: frozenset[str]) -> list[str]:
    """The groups of notices that somebody with these roles gets."""
    operates = roles & {"auditor", "region-operator", "hospital-operator"}
    works = roles & {"doctor", "expert", "coordinator"}
    return [group for group in GROUPS if (operates if group == "operations" else works or group == "reports")]
