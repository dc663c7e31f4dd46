"""What deliveries need of their store and of the channels."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from imaging_common.people import Person
from notification.deliveries.model import Channel, Delivery, Outcome, Plan, Preferences, State


class DeliveryStore(Protocol):
    """Plans, deliveries, and who has seen what. Several copies of the service share it."""

    async def next_plan(self, now: datetime) -> Plan | None:
        """Claim the oldest that is due; what is not finished in time is another's."""
        ...

    async def planned(self, plan: Plan, deliveries: Sequence[Delivery]) -> None:
        """In one transaction: keep the deliveries, each once, and forget the plan."""
        ...

    async def plan_later(self, plan: Plan, at: datetime) -> None:
        """It cannot be worked out now."""
        ...

    async def next_delivery(self, now: datetime) -> Delivery | None:
        """Claim one that is due and count the attempt; what is not finished in time is another's."""
        ...

    async def has_seen(self, delivery: Delivery) -> bool:
        """Whether the person has seen one of the notices it is about."""
        ...

    async def ended(self, delivery: Delivery, state: State, now: datetime, *, reason: str = "", to: str = "") -> None:
        """It is done with."""
        ...

    async def later(self, delivery: Delivery, at: datetime, *, reason: str, counted: bool) -> None:
        """Try again then; `counted`: this was an attempt."""
        ...

    async def hasten(self, delivery: Delivery, channel: Channel, at: datetime) -> None:
        """What waits to tell the same person of the same on this channel goes out then."""
        ...

    async def log(
        self, *, state: str, channel: str, user: str, before: datetime | None, limit: int
    ) -> Sequence[Delivery]:
        """The newest first."""
        ...


class PreferenceStore(Protocol):
    """How people want to be told."""

    async def of(self, user: str) -> Preferences:
        """Theirs; who never chose has the standard."""
        ...

    async def keep(self, user: str, preferences: Preferences) -> None:
        """Theirs from now on."""
        ...


class Sender(Protocol):
    """One channel."""

    def address(self, person: Person) -> str:
        """Where this person is reached; empty: nowhere."""
        ...

    async def send(self, delivery: Delivery, address: str, language: str) -> Outcome:
        """Send it; the receiving end sees the same id when it is sent again. Ends within its deadline."""
        ...
