"""HTTP in: `/organisations` and `/subscriptions`, for the region's operators."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import AwareDatetime, BaseModel, Field

from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, Problem, access, bearer_claims
from imaging_common.http.problems import problem
from imaging_common.ids import HospitalId
from notification.feed.errors import NoOrganisation, OrganisationChanged, OrganisationExists
from notification.feed.model import PUBLIC_TYPES, Organisation
from notification.webhooks.errors import BadAddress, NoSubscription, NoWebhooks, SubscriptionChanged
from notification.webhooks.model import Subscription
from notification.webhooks.usecases import RESTARTED, Desk

REGION = access(Access.REGION_OPERATOR)
LOG_SHOWN = 100
PublicType = Literal["StudyChanged", "ReportIssued", "ReportAmended", "ReportDelivered"]
assert set(PublicType.__args__) == set(PUBLIC_TYPES)  # type: ignore[attr-defined]


class NewOrganisation(BaseModel):
    """`POST /organisations`."""

    id: HospitalId
    hospitals: frozenset[HospitalId]


class Hospitals(BaseModel):
    """`PUT /organisations/{id}`."""

    revision: int
    hospitals: frozenset[HospitalId]


class NewSubscription(BaseModel):
    """`POST /subscriptions`."""

    organisation: HospitalId
    url: str
    types: frozenset[PublicType] = frozenset()
    description: str = Field(default="", max_length=200)
    start: Literal["now", "oldest"] = "now"


class Change(BaseModel):
    """`PUT /subscriptions/{id}`."""

    revision: int
    url: str
    types: frozenset[PublicType] = frozenset()
    description: str = Field(default="", max_length=200)


class Replay(BaseModel):
    """`POST /subscriptions/{id}/replay`: one of both."""

    seq: int | None = Field(default=None, ge=1)
    since: AwareDatetime | None = None


def build_webhooks_api(desk: Desk, verifier: TokenVerifier) -> APIRouter:
    """All routes."""
    router = APIRouter()

    async def operator(request: Request) -> Claims:
        claims = await bearer_claims(request, verifier)
        if "region-operator" not in claims.roles:
            raise Problem(403, "only the region's operators see subscriptions")
        return claims

    Operator = Annotated[Claims, Depends(operator)]

    async def one(subscription_id: str, _: Operator) -> Subscription:
        return await desk.subscriptions.get(subscription_id)

    One = Annotated[Subscription, Depends(one)]

    async def shown(subscription: Subscription) -> dict[str, Any]:
        state = await desk.feed.state(subscription.organisation)
        lag = max(0, state.newest - subscription.cursor)
        waiting = await desk.feed.entries(subscription.organisation, subscription.cursor, 1) if lag else []
        return {
            **subscription.model_dump(mode="json"),
            "number": subscription.number,
            "lag": lag,
            "waiting_since": waiting[0].at.isoformat() if waiting else None,
        }

    async def shown_organisation(organisation: Organisation) -> dict[str, Any]:
        jobs = await desk.feed.snapshots(organisation.id)
        return {
            **organisation.model_dump(mode="json"),
            "topic": organisation.topic,
            **asdict(await desk.feed.state(organisation.id)),
            "snapshots": [
                job.model_dump(mode="json", include={"kind", "put", "created_at", "done_at"}) for job in jobs[:5]
            ],
        }

    @router.get("/organisations", openapi_extra=REGION)
    async def organisations(_: Operator) -> list[dict[str, Any]]:
        """All, with how far their feeds are."""
        return [await shown_organisation(one) for one in await desk.feed.organisations()]

    @router.post("/organisations", status_code=201, openapi_extra=REGION)
    async def add_organisation(who: Operator, body: NewOrganisation) -> dict[str, Any]:
        """A new one; 409: there is one of that id."""
        return await shown_organisation(
            await desk.add_organisation(who, Organisation(id=body.id, hospitals=body.hospitals))
        )

    @router.put("/organisations/{organisation_id}", openapi_extra=REGION)
    async def change_organisation(who: Operator, organisation_id: HospitalId, body: Hospitals) -> dict[str, Any]:
        """Its hospitals; 409: it was changed meanwhile."""
        wanted = Organisation(id=organisation_id, hospitals=body.hospitals, revision=body.revision)
        return await shown_organisation(await desk.change_organisation(who, wanted))

    @router.get("/subscriptions", openapi_extra=REGION)
    async def subscriptions(_: Operator) -> list[dict[str, Any]]:
        """All, with how far they are behind their feed."""
        return [await shown(one) for one in await desk.subscriptions.all()]

    @router.post("/subscriptions", status_code=201, openapi_extra=REGION)
    async def subscribe(who: Operator, body: NewSubscription) -> dict[str, Any]:
        """A new one; `secret` is in this answer and in no other."""
        if body.organisation not in {one.id for one in await desk.feed.organisations()}:
            raise Problem(404, "there is no such organisation")
        made, secret = await desk.subscribe(
            who, body.organisation, body.url, frozenset(body.types), body.description, body.start == "oldest"
        )
        return {**await shown(made), "secret": secret}

    @router.get("/subscriptions/{subscription_id}", openapi_extra=REGION)
    async def subscription(found: One) -> dict[str, Any]:
        """One."""
        return await shown(found)

    @router.put("/subscriptions/{subscription_id}", openapi_extra=REGION)
    async def change(who: Operator, found: One, body: Change) -> dict[str, Any]:
        """Where to, what, and what for; 409: it was changed meanwhile."""
        if body.revision != found.revision:
            raise SubscriptionChanged(found.id)
        values = {"url": body.url, "types": frozenset(body.types), "description": body.description}
        return await shown(await desk.change(who, found, "change", **values))

    @router.delete("/subscriptions/{subscription_id}", status_code=204, openapi_extra=REGION)
    async def remove(who: Operator, found: One) -> None:
        """No longer."""
        await desk.remove(who, found)

    @router.post("/subscriptions/{subscription_id}/rotate", openapi_extra=REGION)
    async def rotate(who: Operator, found: One) -> dict[str, Any]:
        """A new secret, shown this once; the one before signs beside it for a while."""
        after, secret = await desk.rotate(who, found)
        return {**await shown(after), "secret": secret}

    @router.post("/subscriptions/{subscription_id}/disable", openapi_extra=REGION)
    async def disable(who: Operator, found: One) -> dict[str, Any]:
        """Send nothing until it is enabled; the cursor stays."""
        return await shown(await desk.change(who, found, "disable", state="disabled"))

    @router.post("/subscriptions/{subscription_id}/enable", openapi_extra=REGION)
    async def enable(who: Operator, found: One) -> dict[str, Any]:
        """Go on from the cursor, at once."""
        return await shown(await desk.change(who, found, "enable", **RESTARTED))

    @router.post("/subscriptions/{subscription_id}/replay", openapi_extra=REGION)
    async def replay(who: Operator, found: One, body: Replay) -> dict[str, Any]:
        """Deliver again from a number or a time on, as far back as the feed goes."""
        if (body.seq is None) == (body.since is None):
            raise Problem(422, "name a number or a time to replay from, one of both")
        return {"cursor": await desk.replay(who, found, body.seq, body.since)}

    @router.post("/subscriptions/{subscription_id}/test", openapi_extra=REGION)
    async def test(who: Operator, found: One) -> dict[str, Any]:
        """Send a `Ping`, and say what came of it."""
        outcome = await desk.ping(who, found)
        return {"status": outcome.status, "error": outcome.error, "milliseconds": outcome.milliseconds}

    @router.get("/subscriptions/{subscription_id}/deliveries", openapi_extra=REGION)
    async def deliveries(found: One) -> list[dict[str, Any]]:
        """The last attempts, the newest first, without what was sent."""
        return [one.model_dump(mode="json") for one in await desk.subscriptions.attempts(found.id, LOG_SHOWN)]

    return router


ANSWERS: dict[type[Exception], tuple[int, str]] = {
    NoSubscription: (404, "there is no such subscription"),
    NoOrganisation: (404, "there is no such organisation"),
    OrganisationExists: (409, "there is an organisation of that id"),
    OrganisationChanged: (409, "the organisation was changed meanwhile; look at it again"),
    SubscriptionChanged: (409, "the subscription was changed meanwhile; look at it again"),
    NoWebhooks: (503, "NOTIFICATION_WEBHOOK_SEAL is not set: subscriptions' secrets cannot be kept"),
}


def install_webhook_problems(app: FastAPI) -> None:
    """Errors as problem documents."""

    def answering(status: int, text: str) -> Callable[[Request, Exception], Awaitable[Any]]:
        async def answer(_: Request, __: Exception) -> Any:
            return problem(status, text)

        return answer

    for kind, (status, text) in ANSWERS.items():
        app.add_exception_handler(kind, answering(status, text))

    @app.exception_handler(BadAddress)
    async def on_bad_address(_: Request, error: BadAddress) -> Any:
        return problem(422, str(error), field="url")
