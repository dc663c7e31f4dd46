"""`/portal/storage`: how much lies in which tier and of whom, and how it grew."""

from datetime import timedelta

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from gateway.api.forms import csrf_protected
from gateway.api.hospitals import REGION, for_region_operators
from gateway.api.pages import unseen
from gateway.api.portal import Portal
from gateway.operations.desk import Operations
from gateway.operations.model import DayOfUse, tiers_of
from gateway.retrievals.edges import utc_now
from gateway.web.plots import bars, bytes_text, growth
from gateway.web.render import Renderer

DAYS = 30
BAR_WIDTH = 520
GROWTH = (900, 200)


def build_storage(portal: Portal, renderer: Renderer, operations: Operations) -> APIRouter:
    """The one page."""
    router = APIRouter(prefix="/portal/storage", dependencies=[Depends(for_region_operators), Depends(csrf_protected)])

    @router.get("", openapi_extra=REGION)
    async def storage(request: Request) -> Response:
        """Plots per tier, and the last 30 days."""
        now = utc_now()
        entries = await portal.registry.all()
        measured = await operations.usage.latest()
        tiers = tiers_of(measured) if measured else {"archive": {}, "staging": {}, "cache": {}}
        beats = {entry.hospital: portal.retriever.edges.state(entry.hospital) for entry in entries}
        spool = {name: state.heartbeat.spool_bytes for name, state in beats.items() if state}
        limits = {name: state.heartbeat.spool_limit_bytes for name, state in beats.items() if state}
        days = await operations.usage.days(now - timedelta(days=DAYS))
        today = DayOfUse(f"{now:%Y-%m-%d}", {**tiers, "spool": spool})
        days = [*(day for day in days if day.day != today.day), today]
        quota = measured.cache_quota_bytes if measured else None
        return renderer.page(
            request,
            "ops_storage.html",
            measured_at=measured.measured_at if measured else None,
            groups={
                "archive": bars(tiers["archive"], BAR_WIDTH),
                "staging": bars(tiers["staging"], BAR_WIDTH),
                "cache": bars(tiers["cache"], BAR_WIDTH, bound=quota),
                "spool": bars(spool, BAR_WIDTH, bounds=limits),
            },
            growth=growth(days, *GROWTH),
            bytes_text=bytes_text,
            hospitals={entry.hospital: entry for entry in entries},
            unseen=await unseen(portal, request),
        )

    return router
