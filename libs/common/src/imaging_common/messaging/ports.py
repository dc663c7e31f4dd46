"""The port that use cases publish through, and its fake."""

from typing import Protocol

from imaging_common.events import Event


class EventPublisher(Protocol):
    """Publishes events durably."""

    async def publish(
        self, topic: str, event: Event, key: str, *, traceparent: str | None = None, event_id: str | None = None
    ) -> None:
        """Return after Kafka has the event on all in-sync replicas.

        Parameters
        ----------
        topic
            A concrete topic, never a template.
        key
            Keeps the order of one aggregate; no personal data.
        traceparent
            W3C trace context to continue; the current one when not given.
        event_id
            CloudEvents `id`: the same id on a repeated publication lets readers see the duplicate.

        Raises
        ------
        PublishFailed
            Not acknowledged within the deadline.
        """
        ...


class FakePublisher:
    """Keeps what was published; `fail_with` makes the next publications raise."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Event, str]] = []
        self.event_ids: list[str | None] = []
        self.traceparents: list[str | None] = []
        self.fail_with: Exception | None = None

    async def publish(
        self, topic: str, event: Event, key: str, *, traceparent: str | None = None, event_id: str | None = None
    ) -> None:
        """Append to `published`, or raise `fail_with`."""
        if self.fail_with is not None:
            raise self.fail_with
        self.published.append((topic, event, key))
        self.event_ids.append(event_id)
        self.traceparents.append(traceparent)

    def events(self, topic: str) -> list[Event]:
        """What was published to one topic, in order."""
        return [event for name, event, _ in self.published if name == topic]
