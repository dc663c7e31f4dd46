"""HTTP in: `GET /feeds/{organisation}/events`, by which an EHR reads its feed itself, from any number or time on."""

from datetime import UTC
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime

from imaging_common.auth import TokenVerifier
from imaging_common.http import Access, Problem, access, bearer_claims
from imaging_common.ids import HospitalId
from notification.feed.cloudevents import document
from notification.feed.ports import FeedStore

EHR_ROLE = "ehr"
PAGE = 100
MAX_PAGE = 500


def build_feed_api(feed: FeedStore, verifier: TokenVerifier) -> APIRouter:
    """The one route."""
    router = APIRouter()

    @router.get("/feeds/{organisation}/events", openapi_extra=access(Access.EHR))
    async def events(
        request: Request,
        organisation: HospitalId,
        after: Annotated[int | None, Query(ge=0)] = None,
        since: AwareDatetime | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
    ) -> dict[str, Any]:
        """What follows a number or begins at a time, in order; `next` is the number to ask after the next time.

        410: what follows that number is no longer kept; nothing is left out silently.
        """
        claims = await bearer_claims(request, verifier)
        if EHR_ROLE not in claims.roles or claims.user != f"ehr-{organisation}":
            raise Problem(403, "a feed is read by its organisation's own EHR account")
        if (after is None) == (since is None):
            raise Problem(422, "name `after` (a number, 0 for the first) or `since` (a time), one of both")
        if organisation not in {one.id for one in await feed.organisations()}:
            raise Problem(404, "there is no such organisation; the region's operators register it")
        state = await feed.state(organisation)
        if since is not None:
            after = await feed.seq_at(organisation, since.astimezone(UTC))
        assert after is not None
        if since is None and after > state.newest:
            raise Problem(422, f"the feed's newest number is {state.newest}; was another region's number kept?")
        if since is None and after < state.oldest - 1 and after != 0:
            raise Problem(
                410, f"what follows {after} is no longer kept; the oldest is {state.oldest}", oldest=state.oldest
            )
        found = await feed.entries(organisation, after, limit)
        return {
            "events": [document(entry) for entry in found],
            "next": found[-1].seq if found else max(after, state.oldest - 1),
            "oldest": state.oldest,
            "newest": state.newest,
        }

    return router
