"""`/portal/subscriptions`: which systems get which events, by feed and webhook; for the region's operators.

The notification service keeps all of it and decides; a secret is on the page that answers its making, and nowhere else.
"""

from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field, fields
from gateway.api.hospitals import REGION, for_region_operators
from gateway.api.pages import unseen
from gateway.api.portal import Portal, session_of
from gateway.errors import SystemsRefused
from gateway.retrievals.edges import utc_now
from gateway.web.i18n import Translator
from gateway.web.present_operations import age_text
from gateway.web.render import Renderer, language_of

TYPES = ("StudyChanged", "ReportIssued", "ReportAmended", "ReportDelivered")
Act = Literal["rotate", "disable", "enable", "test", "replay", "change", "remove"]
ATTEMPTS_SHOWN = 20
SAID = {409: "stale", 422: "refused", 503: "not-set-up"}


def build_subscriptions(portal: Portal, renderer: Renderer) -> APIRouter:
    """The list and one subscription."""
    guards = [Depends(for_region_operators), Depends(csrf_protected)]
    router = APIRouter(prefix="/portal/subscriptions", dependencies=guards)
    zone = ZoneInfo(portal.settings.time_zone)

    async def ask(request: Request, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return await portal.systems.ask(session_of(request).tokens.access, method, path, body)

    async def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
        now, t = utc_now(), Translator(language_of(request))

        def ago(text: str | None) -> str:
            return age_text(datetime.fromisoformat(text) if text else None, now, t)

        return renderer.page(
            request,
            template,
            status=status,
            ago=ago,
            types=TYPES,
            hospitals={entry.hospital: entry for entry in await portal.registry.all()},
            unseen=await unseen(portal, request),
            **context,
        )

    async def list_page(request: Request, problem: SystemsRefused | None = None, **form: Any) -> Response:
        return await page(
            request,
            "subscriptions.html",
            status=problem.status if problem else 200,
            organisations=await ask(request, "GET", "/organisations"),
            subscriptions=await ask(request, "GET", "/subscriptions"),
            problem=_said(problem),
            form=form,
        )

    async def one_page(
        request: Request, one: dict[str, Any], *, message: str = "", problem: SystemsRefused | None = None, **more: Any
    ) -> Response:
        attempts = await ask(request, "GET", f"/subscriptions/{one['id']}/deliveries")
        feeds = {feed["id"]: feed for feed in await ask(request, "GET", "/organisations")}
        return await page(
            request,
            "subscription.html",
            status=problem.status if problem else 200,
            one=one,
            feed=feeds.get(one["organisation"]),
            attempts=attempts[:ATTEMPTS_SHOWN],
            message=message,
            problem=_said(problem),
            **{"secret": "", "outcome": None, **more},
        )

    async def found(request: Request, subscription: str) -> dict[str, Any]:
        if not subscription.isalnum():
            raise HTTPException(404)
        try:
            return dict(await ask(request, "GET", f"/subscriptions/{subscription}"))
        except SystemsRefused as refused:
            raise HTTPException(404) from refused

    @router.get("", openapi_extra=REGION)
    async def subscriptions(request: Request) -> Response:
        """All organisations and subscriptions, and the forms for new ones."""
        return await list_page(request)

    @router.post("", openapi_extra=REGION)
    async def subscribe(request: Request) -> Response:
        """A new one; its secret is on the page that answers, this once."""
        body = {name: await field(request, name) for name in ("organisation", "url", "description", "start")}
        wanted = {**body, "start": body["start"] or "now", "types": await fields(request, "types")}
        try:
            made = await ask(request, "POST", "/subscriptions", wanted)
        except SystemsRefused as refused:
            return await list_page(request, refused, **wanted)
        return await one_page(request, made, message="made", secret=made["secret"])

    @router.post("/organisations", openapi_extra=REGION)
    async def keep_organisation(request: Request) -> Response:
        """A new organisation, or the hospitals of one that is there: what it missed is put into its feed."""
        identifier, revision = await field(request, "id"), await field(request, "revision")
        body: dict[str, Any] = {"hospitals": await fields(request, "hospitals")}
        try:
            if revision.isdecimal() and identifier.isascii() and identifier.replace("-", "").isalnum():
                await ask(request, "PUT", f"/organisations/{identifier}", {**body, "revision": int(revision[:9])})
            else:
                await ask(request, "POST", "/organisations", {**body, "id": identifier})
        except SystemsRefused as refused:
            return await list_page(request, refused, id=identifier)
        return RedirectResponse("/portal/subscriptions", 303)

    @router.get("/{subscription}", openapi_extra=REGION)
    async def subscription_page(request: Request, subscription: str) -> Response:
        """One: its state, its last deliveries, what can be done."""
        return await one_page(request, await found(request, subscription))

    @router.post("/{subscription}/{act}", openapi_extra=REGION)
    async def do(request: Request, subscription: str, act: Act) -> Response:
        """What an operator does with it."""
        before = await found(request, subscription)
        path = f"/subscriptions/{subscription}"
        try:
            if act == "remove":
                await ask(request, "DELETE", path)
                return RedirectResponse("/portal/subscriptions", 303)
            if act == "change":
                await ask(request, "PUT", path, await _change(request))
            else:
                answer = await ask(request, "POST", f"{path}/{act}", await _body(request, act, zone))
        except SystemsRefused as refused:
            return await one_page(request, before, problem=refused)
        more = {"secret": answer["secret"]} if act == "rotate" else {"outcome": answer} if act == "test" else {}
        return await one_page(request, await found(request, subscription), message=act, **more)

    return router


async def _change(request: Request) -> dict[str, Any]:
    revision = await field(request, "revision")
    return {
        "revision": int(revision) if revision.isdecimal() and len(revision) < 10 else 0,
        "url": await field(request, "url"),
        "description": await field(request, "description"),
        "types": await fields(request, "types"),
    }


async def _body(request: Request, act: str, zone: ZoneInfo) -> dict[str, Any] | None:
    """For `replay`: from a number, or from a time in the region's zone."""
    if act != "replay":
        return None
    seq, since = await field(request, "seq"), await field(request, "since")
    body: dict[str, Any] = {"seq": int(seq)} if seq.isdecimal() and len(seq) < 18 else {}
    try:
        at = datetime.fromisoformat(since).replace(tzinfo=zone) if since else None
    except ValueError:
        at = None
    return body | ({"since": at.astimezone(UTC).isoformat()} if at else {})


def _said(problem: SystemsRefused | None) -> dict[str, str] | None:
    """What the page says: a sentence of its own, and the service's words."""
    if problem is None:
        return None
    return {"key": SAID.get(problem.status, "refused"), "detail": problem.detail}
