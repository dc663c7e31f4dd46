"""Works out whom notices reach, and sends what is due: at least once, each attempt with the same id."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import Counter, Histogram

from imaging_common.people import Directory, DirectoryUnavailable, Person
from imaging_common.repeating import Repeating, stop_all
from imaging_common.telemetry.metrics import DELAY_BUCKETS
from notification.deliveries.model import (
    CHANNELS,
    Chain,
    Channel,
    Delivery,
    Outcome,
    Plan,
    masked,
    people_in,
    planned,
    quiet_until,
    retry_delay,
)
from notification.deliveries.ports import DeliveryStore, PreferenceStore, Sender

_log = structlog.get_logger(__name__)
POLL_SECONDS = 1.0
ATTEMPT_SECONDS = 25.0
"""The whole of one attempt, so that it ends well within its lease."""
WORKERS = 4
"""Sendings at once, in each copy of the service: one that hangs holds up none of the others."""

DELIVERIES = Counter(
    "imaging_deliveries", "Attempts to reach a person outside the portal, by how they ended", ["channel", "outcome"]
)
DELIVERY_SECONDS = Histogram(
    "imaging_delivery_seconds", "Seconds from a notice until its message was sent", ["channel"], buckets=DELAY_BUCKETS
)


class Courier:
    """Every copy of the service has one; the store gives each claim to one of them."""

    def __init__(
        self,
        store: DeliveryStore,
        preferences: PreferenceStore,
        directory: Directory,
        senders: Mapping[Channel, Sender],
        chain: Chain,
        zone: ZoneInfo,
        patience: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store, self._preferences, self._directory, self._senders = store, preferences, directory, senders
        self._chain, self._zone, self._patience = chain, zone, patience
        self._now, self._chance = now, chance
        steps: list[Callable[[], Awaitable[bool]]] = [self.plan_one, *[self.send_one] * WORKERS]
        self._loops = [Repeating("deliveries", step, POLL_SECONDS) for step in steps]

    async def start(self) -> None:
        """Begin."""
        for loop in self._loops:
            await loop.start()

    async def stop(self) -> None:
        """Finish what is being sent; what was claimed beside it is another's when its time is over."""
        await stop_all(self._loops)

    async def plan_one(self) -> bool:
        """Work out whom one notice reaches, and on which channels; False: there is none."""
        plan = await self._store.next_plan(self._now())
        if plan is None:
            return False
        try:
            people = await self._people(plan)
        except DirectoryUnavailable:
            at = self._now() + timedelta(seconds=retry_delay(plan.attempts, self._chance))
            await self._store.plan_later(plan, at)
            _log.warning("notice-waits-for-directory", notice=plan.notice.notice_id)
            return True
        deliveries: list[Delivery] = []
        for person in people:
            chosen = await self._preferences.of(person.user)
            deliveries += planned(plan, person.user, person.hospital, chosen, self._chain)
        await self._store.planned(plan, [one for one in deliveries if one.channel in self._senders])
        return True

    async def _people(self, plan: Plan) -> list[Person]:
        user, hospital, role = people_in(plan.notice.recipient)
        if user:
            person = await self._directory.person(user)
            people = [person] if person is not None else []
        else:
            people = await self._directory.group(hospital, role)
        return [person for person in people if person.user != plan.by]

    async def send_one(self) -> bool:
        """Send one that is due, unless it was seen or its time is quiet; False: there is none."""
        delivery = await self._store.next_delivery(self._now())
        if delivery is None:
            return False
        if await self._store.has_seen(delivery):
            await self._store.ended(delivery, "not-needed", self._now(), reason="seen")
            return True
        chosen = await self._preferences.of(delivery.user)
        if delivery.channel not in chosen.allowed(delivery.kind):
            await self._store.ended(delivery, "not-needed", self._now(), reason="turned-off")
            return True
        if until := quiet_until(delivery, chosen.quiet, self._now(), self._zone):
            await self._store.later(delivery, until, reason="quiet-hours", counted=False)
            return True
        try:
            person = await self._directory.person(delivery.user)
        except DirectoryUnavailable:
            await self._again(delivery, "directory-away")
            return True
        await self._send(delivery, person, chosen.language)
        return True

    async def _send(self, delivery: Delivery, person: Person | None, language: str | None) -> None:
        sender = self._senders.get(delivery.channel)
        if sender is None:
            await self._undeliverable(delivery, "no-channel", "")
            return
        address = sender.address(person) if person is not None else ""
        if person is None or not address:
            await self._undeliverable(delivery, "no-address", "")
            return
        outcome = await self._attempt(sender, delivery, address, language or person.language)
        if outcome.result == "sent":
            now = self._now()
            await self._store.ended(delivery, "sent", now, to=masked(address))
            DELIVERIES.labels(delivery.channel, "sent").inc()
            DELIVERY_SECONDS.labels(delivery.channel).observe(max(0.0, (now - delivery.raised_at).total_seconds()))
        elif outcome.result == "refused":
            await self._undeliverable(delivery, outcome.reason, masked(address))
        else:
            await self._again(delivery, outcome.reason)

    async def _attempt(self, sender: Sender, delivery: Delivery, address: str, language: str) -> Outcome:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await sender.send(delivery, address, language)
        except TimeoutError:
            return Outcome(result="again", reason="no-answer")
        except Exception as error:  # what a message or server holds must not end the courier
            _log.exception("sender-failed", delivery=delivery.id)
            return Outcome(result="again", reason=f"failed-{type(error).__name__}")

    async def _again(self, delivery: Delivery, reason: str) -> None:
        now = self._now()
        if now - delivery.raised_at >= self._patience:
            await self._undeliverable(delivery, reason, "")
            return
        at = now + timedelta(seconds=retry_delay(delivery.attempts, self._chance))
        await self._store.later(delivery, at, reason=reason, counted=True)
        DELIVERIES.labels(delivery.channel, "again").inc()
        _log.warning("delivery-failed", delivery=delivery.id, channel=delivery.channel, reason=reason)

    async def _undeliverable(self, delivery: Delivery, reason: str, to: str) -> None:
        """The next channel has its turn at once."""
        await self._store.ended(delivery, "undeliverable", self._now(), reason=reason, to=to)
        DELIVERIES.labels(delivery.channel, "undeliverable").inc()
        _log.warning("delivery-undeliverable", delivery=delivery.id, channel=delivery.channel, reason=reason)
        for channel in CHANNELS[CHANNELS.index(delivery.channel) + 1 :]:
            await self._store.hasten(delivery, channel, self._now())
