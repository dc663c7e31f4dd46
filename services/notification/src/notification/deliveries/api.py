"""HTTP in: `/notifications/preferences` (one's own) and `/notifications/deliveries` (operators)."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime

from imaging_common.access import GRANT_ONLY_ROLES
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, Problem, access, bearer_claims
from notification.deliveries.model import Channel, Delivery, Preferences, State
from notification.deliveries.ports import DeliveryStore, PreferenceStore

LOG_SHOWN = 100


def build_deliveries_api(store: DeliveryStore, preferences: PreferenceStore, verifier: TokenVerifier) -> APIRouter:
    """All routes."""
    router = APIRouter(prefix="/notifications")

    async def person(request: Request) -> Claims:
        claims = await bearer_claims(request, verifier)
        if claims.roles & GRANT_ONLY_ROLES:
            raise Problem(403, "a window or link has no settings: sign in")
        return claims

    async def operator(request: Request) -> Claims:
        claims = await bearer_claims(request, verifier)
        if "region-operator" not in claims.roles:
            raise Problem(403, "only the region's operators see the delivery log")
        return claims

    @router.get("/preferences", openapi_extra=access(Access.AUTHENTICATED))
    async def read(who: Annotated[Claims, Depends(person)]) -> Preferences:
        """How the asker is told, with every group named."""
        return (await preferences.of(who.user)).complete()

    @router.put("/preferences", openapi_extra=access(Access.AUTHENTICATED))
    async def choose(who: Annotated[Claims, Depends(person)], chosen: Preferences) -> Preferences:
        """How the asker is told from now on. Critical values come on all channels, whatever is chosen."""
        await preferences.keep(who.user, chosen)
        return chosen.complete()

    @router.get("/deliveries", openapi_extra=access(Access.REGION_OPERATOR), dependencies=[Depends(operator)])
    async def log(
        state: State | Literal[""] = "",
        channel: Channel | Literal[""] = "",
        user: str = "",
        before: AwareDatetime | None = None,
        limit: Annotated[int, Query(ge=1, le=LOG_SHOWN)] = LOG_SHOWN,
    ) -> list[dict[str, Any]]:
        """The newest first; `before` continues with what was raised before. Addresses are masked."""
        found = await store.log(state=state, channel=channel, user=user, before=before, limit=limit)
        return [shown(one) for one in found]

    return router


def shown(delivery: Delivery) -> dict[str, Any]:
    """A line of the log."""
    return delivery.model_dump(mode="json", exclude={"notice_ids", "at"})
