"""What webhooks need of their store, and of the notices."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from imaging_common.events import NoticeRaised
from notification.webhooks.model import Attempt, State, Subscription


class Notices(Protocol):
    """Where a notice to people is raised."""

    async def raise_once(self, notice: NoticeRaised) -> bool:
        """Raise it; False: it was raised before."""
        ...


class SubscriptionStore(Protocol):
    """Subscriptions and the log of their deliveries."""

    async def add(self, subscription: Subscription) -> None:
        """A new one."""
        ...

    async def all(self) -> list[Subscription]:
        """All, by organisation and age."""
        ...

    async def get(self, subscription_id: str) -> Subscription:
        """One; raises NoSubscription."""
        ...

    async def change(self, before: Subscription, after: Subscription) -> Subscription:
        """Set what an operator decides, if it is still that revision; raises NoSubscription, SubscriptionChanged."""
        ...

    async def remove(self, subscription_id: str) -> None:
        """No longer there, nor its log; raises NoSubscription."""
        ...

    async def due(self, now: datetime) -> list[Subscription]:
        """Those that are active and not waiting for a later attempt."""
        ...

    async def passed(self, subscription: Subscription, seq: int) -> bool:
        """Nothing up to here is for it; False: it was changed meanwhile."""
        ...

    async def noted(
        self, subscription: Subscription, attempt: Attempt, state: State, next_attempt_at: datetime | None
    ) -> bool:
        """Write an attempt down and move the cursor if it was taken; False: it was changed meanwhile."""
        ...

    async def attempts(self, subscription_id: str, limit: int) -> Sequence[Attempt]:
        """The log, the newest first."""
        ...
