"""Publishes through the outbox: durable in MongoDB at once, in Kafka as soon as it is there."""

from imaging_common.events import Event
from imaging_common.messaging.outbox import Outbox


class OutboxPublisher:
    """`EventPublisher` for events that follow no change of state: audit records of looks, studies opened."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def publish(
        self, topic: str, event: Event, key: str, *, traceparent: str | None = None, event_id: str | None = None
    ) -> None:
        """Return when MongoDB has it; the event's own id makes a repetition visible to its reader."""
        await self._outbox.add(topic, event, key, session=None)
        self._outbox.notify()
