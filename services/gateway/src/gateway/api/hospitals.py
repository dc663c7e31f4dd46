"""`/portal/hospitals`: hospitals and their edge agents; policy, test echo. Pages ask again when an agent speaks."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field
from gateway.api.pages import unseen
from gateway.api.portal import Portal, identity_of
from gateway.api.roles import RoleRefused, for_operators
from gateway.model import HospitalEntry
from gateway.operations.desk import Operations
from gateway.operations.model import Policy, operates, operates_region
from gateway.retrievals.edges import utc_now
from gateway.usecases.ask_echo import ask_echo
from gateway.usecases.change_policy import change_policy
from gateway.web.i18n import Translator
from gateway.web.present_operations import CURVE_HOURS, SPARK_HOURS, HospitalView, age_text, hospital_view
from gateway.web.render import Renderer, language_of
from imaging_common.http import Access, access

OPERATORS = access(Access.HOSPITAL_OPERATOR)
REGION = access(Access.REGION_OPERATOR)
POLICY_FIELDS = ("tier", "compression", "cache_weight", "retention_days")


async def for_region_operators(request: Request) -> None:
    """Refuse who does not run the region."""
    if not operates_region(identity_of(request).claims):
        raise RoleRefused("not-the-region-operator", "the account is no region operator's")


def build_hospitals(portal: Portal, renderer: Renderer, operations: Operations) -> APIRouter:
    """The list, one hospital, and what can be done with it."""
    router = APIRouter(prefix="/portal/hospitals", dependencies=[Depends(for_operators), Depends(csrf_protected)])
    zone = ZoneInfo(portal.settings.time_zone)

    async def entries(request: Request) -> list[HospitalEntry]:
        claims = identity_of(request).claims
        return [entry for entry in await portal.registry.all() if operates(claims, entry.hospital)]

    async def view(entry: HospitalEntry, hours: int, announcements: dict[str, Any]) -> HospitalView:
        now = utc_now()
        samples = await operations.log.history(entry.hospital, now - timedelta(hours=hours))
        return hospital_view(
            entry,
            portal.retriever.edges,
            interval_seconds=portal.settings.heartbeat_seconds,
            now=now,
            announced_at=announcements.get(entry.hospital),
            samples=samples,
            zone=zone,
        )

    async def page(request: Request, template: str, **context: Any) -> Response:
        now, t = utc_now(), Translator(language_of(request))
        return renderer.page(
            request,
            template,
            ago=lambda at: age_text(at, now, t),
            region=operates_region(identity_of(request).claims),
            hospitals={entry.hospital: entry for entry in await portal.registry.all()},
            unseen=await unseen(portal, request),
            **context,
        )

    async def one(request: Request, hospital: str) -> HospitalEntry:
        found = next((entry for entry in await entries(request) if entry.hospital == hospital), None)
        if found is None:
            raise HTTPException(404)
        return found

    async def list_context(request: Request) -> list[HospitalView]:
        announcements = await operations.log.announcements()
        return [await view(entry, SPARK_HOURS, announcements) for entry in await entries(request)]

    @router.get("", openapi_extra=OPERATORS)
    async def hospitals(request: Request) -> Response:
        """All that the person runs."""
        return await page(request, "ops_hospitals.html", views=await list_context(request))

    @router.get("/rows", openapi_extra=OPERATORS)
    async def rows(request: Request) -> Response:
        """The list's part that changes."""
        return await page(request, "_ops_hospitals.html", views=await list_context(request))

    async def detail(
        request: Request, hospital: str, template: str, *, message: str = "", problem: str = "", status: int = 200
    ) -> Response:
        entry = await one(request, hospital)
        echo = await operations.echoes.latest(hospital)
        shown = await page(
            request,
            template,
            view=await view(entry, CURVE_HOURS, await operations.log.announcements()),
            echo=echo,
            echo_state=echo.state(utc_now()) if echo else "",
            message=message,
            problem=problem,
        )
        shown.status_code = status
        return shown

    @router.get("/{hospital}", openapi_extra=OPERATORS)
    async def hospital_page(request: Request, hospital: str) -> Response:
        """One hospital."""
        return await detail(request, hospital, "ops_hospital.html")

    @router.get("/{hospital}/agent", openapi_extra=OPERATORS)
    async def agent(request: Request, hospital: str) -> Response:
        """The part about its edge agent."""
        return await detail(request, hospital, "_ops_agent.html")

    @router.post("/{hospital}/echo", openapi_extra=OPERATORS)
    async def echo(request: Request, hospital: str) -> Response:
        """Have the agent ask its PACS for an echo; the answer appears on the page."""
        await one(request, hospital)
        await ask_echo(operations.echoes, portal.publisher, identity_of(request).claims, hospital)
        if request.headers.get("hx-request") == "true":
            return await detail(request, hospital, "_ops_agent.html")
        return RedirectResponse(f"/portal/hospitals/{hospital}", 303)

    @router.post("/{hospital}/policy", openapi_extra=REGION, dependencies=[Depends(for_region_operators)])
    async def policy(request: Request, hospital: str) -> Response:
        """Change the policy, if it is still as the page showed it."""
        await one(request, hospital)
        values: dict[str, Any] = {name: await field(request, name) for name in POLICY_FIELDS}
        values["legal_hold"] = bool(await field(request, "legal_hold"))
        revision = await field(request, "revision")
        try:
            wanted = Policy.model_validate(values)
            after = await change_policy(
                portal.registry,
                portal.audit,
                identity_of(request).claims,
                hospital,
                int(revision) if revision.isdecimal() and len(revision) < 10 else -1,
                wanted,
            )
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            return await detail(request, hospital, "ops_hospital.html", problem=name, status=422)
        if after is None:
            return await detail(request, hospital, "ops_hospital.html", message="ops.policy.stale", status=409)
        return await detail(request, hospital, "ops_hospital.html", message="ops.policy.saved")

    return router
