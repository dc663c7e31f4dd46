"""What operators do with subscriptions; each act is on record before it is told to be done."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims
from notification.feed.cloudevents import SOURCE
from notification.feed.model import Organisation
from notification.feed.ports import FeedStore
from notification.webhooks.model import Secret, Subscription, new_secret, rotated, valid_secrets
from notification.webhooks.ports import SubscriptionStore
from notification.webhooks.sender import Outcome, Sender

PING = "Ping"
RESTARTED = {"state": "active", "failures": 0, "failing_since": None, "next_attempt_at": None}


@dataclass(frozen=True)
class Desk:
    """Behind the routes."""

    feed: FeedStore
    subscriptions: SubscriptionStore
    sender: Sender
    audit: AuditTrail
    check: Callable[[str], Awaitable[object]]
    """Raises BadAddress for an address that nothing is sent to."""
    overlap: timedelta
    """So long the secret before a rotation signs, too."""
    wake: Callable[[], None]

    async def record(self, claims: Claims, what: str, about: str) -> None:
        """Who did what with which organisation or subscription."""
        await self.audit.record(
            action="subscribe", outcome="success", count=0, purpose=f"{what} {about}", **who(claims)
        )

    async def add_organisation(self, claims: Claims, organisation: Organisation) -> Organisation:
        """A new one: its snapshot begins; raises OrganisationExists."""
        await self.feed.add(organisation)
        await self.record(claims, "add-organisation", organisation.id)
        return organisation

    async def change_organisation(self, claims: Claims, organisation: Organisation) -> Organisation:
        """Its hospitals; raises NoOrganisation, OrganisationChanged."""
        after = await self.feed.change(organisation)
        await self.record(claims, "change-organisation", organisation.id)
        return after

    async def subscribe(
        self, claims: Claims, organisation: str, url: str, types: frozenset[str], description: str, from_start: bool
    ) -> tuple[Subscription, str]:
        """A new subscription and its secret, which is shown this once; raises BadAddress, NoWebhooks."""
        await self.check(url)
        state = await self.feed.state(organisation)
        secret = new_secret()
        subscription = Subscription(
            id=uuid4().hex,
            organisation=organisation,
            url=url,
            types=types,
            description=description,
            secrets=[Secret(value=secret)],
            cursor=state.oldest - 1 if from_start else state.newest,
            created_by=claims.user,
            created_at=datetime.now(UTC),
        )
        await self.subscriptions.add(subscription)
        await self.record(claims, "add", subscription.number)
        self.wake()
        return subscription, secret

    async def change(self, claims: Claims, before: Subscription, what: str, **values: Any) -> Subscription:
        """Set some of its values; raises BadAddress, SubscriptionChanged."""
        if "url" in values:
            await self.check(values["url"])
        after = await self.subscriptions.change(before, before.model_copy(update=values))
        await self.record(claims, what, before.number)
        self.wake()
        return after

    async def rotate(self, claims: Claims, before: Subscription) -> tuple[Subscription, str]:
        """A new secret; the present one signs beside it for a while."""
        secret = new_secret()
        secrets = rotated(before, secret, datetime.now(UTC) + self.overlap)
        return await self.change(claims, before, "rotate", secrets=secrets), secret

    async def replay(self, claims: Claims, before: Subscription, seq: int | None, since: datetime | None) -> int:
        """Deliver again from a number, or from a time; the number before the first that is delivered again."""
        state = await self.feed.state(before.organisation)
        wanted = await self.feed.seq_at(before.organisation, since) if since else (seq or 1) - 1
        cursor = min(max(wanted, state.oldest - 1), state.newest)
        await self.change(claims, before, "replay", cursor=cursor, failures=0, next_attempt_at=None)
        return cursor

    async def remove(self, claims: Claims, subscription: Subscription) -> None:
        """No longer; raises NoSubscription."""
        await self.subscriptions.remove(subscription.id)
        await self.record(claims, "remove", subscription.number)

    async def ping(self, claims: Claims, subscription: Subscription) -> Outcome:
        """Send a `Ping` now; the cursor stays."""
        now = datetime.now(UTC)
        message = {
            "specversion": "1.0",
            "id": uuid4().hex,
            "type": PING,
            "source": SOURCE,
            "time": now.isoformat(),
            "datacontenttype": "application/json",
            "data": {"subscription": subscription.id},
        }
        await self.record(claims, "test", subscription.number)
        return await self.sender.send(subscription.url, message, valid_secrets(subscription, now))
