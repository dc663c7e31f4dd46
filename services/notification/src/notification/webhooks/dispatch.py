"""Delivers the feeds to the subscriptions: in order, each from its own cursor, at least once."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from imaging_common.messaging.outbox_lease import RelayLease
from notification.feed.cloudevents import document
from notification.feed.model import FeedEntry
from notification.feed.ports import FeedStore
from notification.webhooks.model import Attempt, Subscription, disabled_notice, retry_delay, valid_secrets, verdict
from notification.webhooks.ports import Notices, SubscriptionStore
from notification.webhooks.sender import Sender

_log = structlog.get_logger(__name__)
BATCH = 50
POLL_SECONDS = 1.0
ATTEMPTS = Counter(
    "imaging_webhook_attempts", "Events sent to subscribers, by how it ended", ["organisation", "outcome"]
)
STOPPED = Counter("imaging_webhook_stopped", "Subscriptions that were stopped after failing too long", ["organisation"])


class Dispatcher:
    """Of all copies of the service one at a time; subscriptions do not wait for another.

    An event that a receiver does not take is tried again before any later one. It can be killed at any point: what was
    sent and not written down is sent again with the same `webhook-id`.
    """

    def __init__(
        self,
        feed: FeedStore,
        subscriptions: SubscriptionStore,
        sender: Sender,
        notices: Notices,
        lease: RelayLease,
        wake: asyncio.Event,
        patience: timedelta,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._feed, self._subscriptions, self._sender, self._notices = feed, subscriptions, sender, notices
        self._lease = lease
        self._wake = wake
        self._patience = patience
        self._chance = chance
        self._work: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop, and let another copy take over at once."""
        if self._task is None:
            return
        tasks = {self._task, *self._work.values()}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self._task = None
        await self._lease.give_back()

    async def _run(self) -> None:
        while True:
            try:
                if await self._lease.take():
                    self._work = {name: task for name, task in self._work.items() if not task.done()}
                    for one in await self._subscriptions.due(datetime.now(UTC)):
                        if one.id not in self._work:
                            self._work[one.id] = asyncio.create_task(self._deliver(one))
            except PyMongoError as error:
                _log.warning("subscriptions-not-readable", error=type(error).__name__)
            except Exception:  # Whatever it is, the next round comes: this loop must not just end.
                _log.exception("webhook-dispatch-failed")
            await self._sleep()

    async def _deliver(self, subscription: Subscription) -> None:
        """All that waits for one, until something fails or it is changed."""
        try:
            current: Subscription | None = subscription
            while current is not None and self._lease.held:
                some = await self._feed.entries(current.organisation, current.cursor, BATCH)
                if not some:
                    return
                for entry in some:
                    if not self._lease.held:
                        return
                    current = await self._one(current, entry)
                    if current is None:
                        return
        except PyMongoError as error:
            _log.warning("webhook-not-noted", subscription=subscription.id, error=type(error).__name__)

    async def _one(self, subscription: Subscription, entry: FeedEntry) -> Subscription | None:
        """Deliver, or pass over; None: not now."""
        if subscription.types and entry.event_type not in subscription.types:
            done = await self._subscriptions.passed(subscription, entry.seq)
            return subscription.model_copy(update={"cursor": entry.seq}) if done else None
        at = datetime.now(UTC)
        outcome = await self._sender.send(subscription.url, document(entry), valid_secrets(subscription, at))
        attempt = Attempt(
            seq=entry.seq,
            event_id=entry.event_id,
            event_type=entry.event_type,
            at=at,
            status=outcome.status,
            error=outcome.error,
            milliseconds=outcome.milliseconds,
        )
        ATTEMPTS.labels(subscription.organisation, "taken" if attempt.ok else "failed").inc()
        if attempt.ok:
            done = await self._subscriptions.noted(subscription, attempt, "active", None)
            change = {"cursor": entry.seq, "failures": 0, "failing_since": None}
            return subscription.model_copy(update=change) if done else None
        state = verdict(subscription, attempt, self._patience)
        if state != "active":
            STOPPED.labels(subscription.organisation).inc()
            await self._notices.raise_once(disabled_notice(subscription, at))
        delay = retry_delay(subscription.failures + 1, outcome.retry_after, self._chance)
        await self._subscriptions.noted(subscription, attempt, state, at + timedelta(seconds=delay))
        _log.warning("webhook-failed", subscription=subscription.id, status=outcome.status, state=state)
        return None

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
