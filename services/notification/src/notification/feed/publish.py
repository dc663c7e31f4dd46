"""Publishes each organisation's feed to its topic, in the order of its numbers, and does the snapshots."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from opentelemetry import trace
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from imaging_common.errors import ImagingError
from imaging_common.messaging.outbox_lease import RelayLease
from imaging_common.telemetry.context import attached, current_traceparent
from imaging_common.telemetry.metrics import EVENTS_PUBLISHED
from notification.feed.cloudevents import Headers, record
from notification.feed.model import FeedEntry, Organisation
from notification.feed.ports import FeedStore

_log = structlog.get_logger(__name__)
_tracer = trace.get_tracer(__name__)
BATCH = 50
POLL_SECONDS = 1.0
BLOCKED_SECONDS = 5.0
FAILURES = Counter("imaging_feed_failures", "Times that an organisation's feed could not be published", ["topic"])
Send = Callable[[str, bytes, bytes | None, Headers], Awaitable[None]]
"""Topic, value, key, headers; returns when Kafka has it; raises ImagingError."""


class FeedRelay:
    """At least once and in order; of all copies of the service one at a time. Organisations do not wait for another.

    It can be killed at any point: what is published again carries the same id and the same number.
    """

    def __init__(self, feed: FeedStore, lease: RelayLease, wake: asyncio.Event, sender: Callable[[str], Send]) -> None:
        self._feed = feed
        self._lease = lease
        self._wake = wake
        self._sender = sender
        self._senders: dict[str, Send] = {}
        self._blocked: dict[str, float] = {}
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
                    await self._begin_work()
            except PyMongoError as error:
                _log.warning("feed-not-readable", error=type(error).__name__)
            except Exception:  # Whatever it is, the next round comes: this loop must not just end.
                _log.exception("feed-relay-failed")
            await self._sleep()

    async def _begin_work(self) -> None:
        """A task for each organisation that has none, and one for the snapshots."""
        now = asyncio.get_running_loop().time()
        if self._free("snapshots"):
            self._work["snapshots"] = asyncio.create_task(self._snapshots())
        for organisation in await self._feed.organisations():
            if self._free(organisation.id + "/") and self._blocked.get(organisation.id, 0.0) <= now:
                self._work[organisation.id + "/"] = asyncio.create_task(self._publish(organisation))

    def _free(self, name: str) -> bool:
        return name not in self._work or self._work[name].done()

    async def _snapshots(self) -> None:
        try:
            while self._lease.held and await self._feed.step_snapshot():
                pass
        except PyMongoError as error:
            _log.warning("snapshot-not-done", error=type(error).__name__)

    async def _publish(self, organisation: Organisation) -> None:
        """All that waits, batch by batch."""
        done = -1
        try:
            done = (await self._feed.state(organisation.id)).published
            while self._lease.held and (some := await self._feed.entries(organisation.id, done, BATCH)):
                try:
                    for entry in some:
                        if not self._lease.held:
                            break
                        await self._send(organisation.topic, entry)
                        done = entry.seq
                finally:
                    await self._feed.published(organisation.id, done)
        except (ImagingError, PyMongoError) as error:
            FAILURES.labels(organisation.topic).inc()
            self._blocked[organisation.id] = asyncio.get_running_loop().time() + BLOCKED_SECONDS
            _log.error("feed-not-published", topic=organisation.topic, error=type(error).__name__)

    async def _send(self, topic: str, entry: FeedEntry) -> None:
        if topic not in self._senders:
            self._senders[topic] = self._sender(topic)
        with (
            attached(entry.traceparent),
            _tracer.start_as_current_span(
                f"publish {topic}",
                kind=trace.SpanKind.PRODUCER,
                attributes={
                    "messaging.system": "kafka",
                    "messaging.operation.type": "send",
                    "messaging.destination.name": topic,
                    "cloudevents.event_type": entry.event_type,
                },
            ),
        ):
            value, key, headers = record(entry)
            if traceparent := current_traceparent() or entry.traceparent:
                headers.append(("traceparent", traceparent.encode()))
            await self._senders[topic](topic, value, key, headers)
        EVENTS_PUBLISHED.labels(topic=topic, type=entry.event_type).inc()

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
