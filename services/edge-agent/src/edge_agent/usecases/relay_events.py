"""Publishes the outbox in order, at least once; an event leaves it when Kafka has it."""

import asyncio

from edge_agent.ports import OutgoingEvents
from imaging_common.errors import RejectedError, RetryableError
from imaging_common.messaging import EventPublisher
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 15.0
POLL_SECONDS = 5.0
BATCH = 50


class EventRelay:
    """One per agent; what was published but not yet marked is published again with the same event id."""

    def __init__(self, outbox: OutgoingEvents, publisher: EventPublisher) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._news = asyncio.Event()

    def notify(self) -> None:
        """There is an event."""
        self._news.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        delay = FIRST_DELAY_SECONDS
        while True:
            self._news.clear()
            try:
                while await self.relay_some():
                    delay = FIRST_DELAY_SECONDS
            except RetryableError as error:
                _log.warning("event-not-published", error=str(error), retry_seconds=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY_SECONDS)
                continue
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def relay_some(self) -> int:
        """Publish the oldest events; how many there were.

        Raises
        ------
        RetryableError
            Kafka does not take them now.
        """
        events = self._outbox.next_events(BATCH)
        for one in events:
            try:
                await self._publisher.publish(
                    one.topic, one.event, one.key, traceparent=one.traceparent, event_id=one.event_id
                )
            except RejectedError as error:
                _log.error("event-set-aside", type=one.event.type_name(), error=str(error))
                await asyncio.to_thread(self._outbox.set_aside, one.number, str(error))
                continue
            await asyncio.to_thread(self._outbox.mark_published, one.number)
        return len(events)
