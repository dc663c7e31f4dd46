"""Publishes through the outbox: durable in MongoDB at once, in Kafka soon, as soon as it is there."""

from pymongo.errors import PyMongoError

from imaging_common.errors import PublishFailed
from imaging_common.events import Event
from imaging_common.messaging.outbox import Outbox


class OutboxPublisher:
    """`EventPublisher` for events that follow no change of state: audit records of looks, studies opened."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def publish(
        self, topic: str, event: Event, key: str, *, traceparent: str | None = None, event_id: str | None = None
    ) -> None:
        """Return when MongoDB has it; the event's own id makes a repetition visible to its reader.

        Raises
        ------
        PublishFailed
            MongoDB did not take it.
        """
        try:
            await self._outbox.add_look(topic, event, key)
        except PyMongoError as error:
            raise PublishFailed(f"{topic}: the outbox does not take it: {type(error).__name__}") from error
