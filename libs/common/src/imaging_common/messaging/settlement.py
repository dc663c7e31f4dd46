"""Where a record goes: to its handler, silently past, or with its reason into the dead letter topic; then its commit.

A partition whose record cannot go on yet (a dependency is away, the dead letter bucket is empty) is read again from
that record after a while; all other partitions go on meanwhile.
"""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from opentelemetry import trace

from imaging_common.errors import BadMessage, ImagingError, RejectedError
from imaging_common.events import EVENT_TYPES, Envelope, Event
from imaging_common.messaging.cloudevents import decode_headers, read_envelope, read_event
from imaging_common.messaging.commits import Committer, OffsetCommits
from imaging_common.messaging.publisher import KafkaPublisher
from imaging_common.messaging.retry import DeadLetterLimit, RetryPolicy
from imaging_common.messaging.router import EventRouter, Handler
from imaging_common.messaging.topics import dead_letter_topic
from imaging_common.telemetry.context import context_of
from imaging_common.telemetry.logs import place_of
from imaging_common.telemetry.metrics import MESSAGES_DEAD_LETTERED

_log = structlog.get_logger(__name__)
_tracer = trace.get_tracer(__name__)
UNKNOWN = "unknown"


class Consumer(Committer, Protocol):
    """What settlement needs of `aiokafka.AIOKafkaConsumer`."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read this offset next."""
        ...

    def pause(self, *partitions: TopicPartition) -> None:
        """Return no records of these partitions."""
        ...

    def resume(self, *partitions: TopicPartition) -> None:
        """Return records again."""
        ...


@dataclass(slots=True)
class Tries:
    """How often a record was tried, and since when."""

    offset: int
    attempts: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since the first try."""
        return time.monotonic() - self.started


@dataclass(slots=True)
class Delivery:
    """A record that was understood, and who handles it (None: a known event that this service does not use)."""

    event: Event
    envelope: Envelope
    handler: Handler | None


class Settlement:
    """Shared by all records of one process: where they go when they fail, and how far that may go."""

    def __init__(
        self,
        service: str,
        router: EventRouter,
        publisher: KafkaPublisher,
        policy: RetryPolicy,
        limit: DeadLetterLimit,
    ) -> None:
        self.service = service
        self.router = router
        self.publisher = publisher
        self.policy = policy
        self.limit = limit
        self.commits = OffsetCommits()
        self.waiting: dict[TopicPartition, asyncio.Task[None]] = {}
        """Partitions that stand still for a while."""
        self._tries: dict[TopicPartition, Tries] = {}
        self.blocked: set[str] = set()
        """Dead letter topics that cannot be written at the moment."""

    def understand(self, record: Any) -> Delivery:
        """Return what the record is.

        Raises
        ------
        BadMessage
            It is no event of this region.
        """
        envelope = read_envelope(record)
        handler = self.router.find(envelope.type, record.topic)
        if handler is None and envelope.type in EVENT_TYPES:
            return Delivery(Event(), envelope, None)
        return Delivery(read_event(record, envelope), envelope, handler)

    async def handle(self, delivery: Delivery) -> None:
        """Call the handler in a span that continues the sender's trace."""
        if delivery.handler is None:
            return
        envelope = delivery.envelope
        with _tracer.start_as_current_span(
            f"process {envelope.topic}",
            context=context_of(envelope.traceparent),
            kind=trace.SpanKind.CONSUMER,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.destination.name": envelope.topic,
                "messaging.consumer.group.name": self.service,
                "cloudevents.event_type": envelope.type,
                "cloudevents.event_id": envelope.id,
            },
            record_exception=False,
        ):
            await delivery.handler(delivery.event, envelope)

    def tries(self, record: Any) -> Tries:
        """The tries of this record so far; they survive its being read again."""
        partition = TopicPartition(record.topic, record.partition)
        known = self._tries.get(partition)
        if known is None or known.offset != record.offset:
            known = self._tries[partition] = Tries(record.offset)
        return known

    def settle(self, consumer: Consumer, record: Any) -> None:
        """The record is done: commit the offset after it."""
        self._tries.pop(TopicPartition(record.topic, record.partition), None)
        self.commits.settled(consumer, record)

    async def dead_letter(self, consumer: Consumer, record: Any, error: Exception, attempts: int) -> bool:
        """Put the record into the dead letter topic; False when that is not possible now and the partition waits."""
        wait = self.limit.wait(record.topic)
        if wait > 0:
            _log.error("dead-letter-limit-reached", topic=record.topic, partition=record.partition, seconds=wait)
            self.stand_still(consumer, record, wait)
            return False
        reason = reason_of(error)
        topic = dead_letter_topic(record.topic, self.service)
        account = [(f"dlq_{name}", str(text).encode()) for name, text in self._account(record, error, reason, attempts)]
        try:
            await self._write(topic, record, account)
        except Exception as failure:
            _log.error("dead-letter-not-written", topic=topic, error=place_of(failure))
            self.blocked.add(topic)
            self.limit.give_back(record.topic)
            self.stand_still(consumer, record, self.policy.longest_delay)
            return False
        self.blocked.discard(topic)
        MESSAGES_DEAD_LETTERED.labels(topic=record.topic, type=type_of(record), reason=reason).inc()
        _log.error(
            "message-dead-lettered",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=reason,
            error=type(error).__name__,
            attempts=attempts,
        )
        return True

    async def _write(self, topic: str, record: Any, account: list[tuple[str, bytes]]) -> None:
        headers = [(name, value or b"") for name, value in record.headers]
        value = record.value
        if record.key is None and value is None:
            value = b""  # Kafka takes a record with neither, aiokafka does not
        try:
            await self.publisher.send(topic, value, record.key, headers + account)
        except RejectedError:
            note = ("dlq_value_dropped", b"with its headers the record is larger than a topic takes")
            await self.publisher.send(topic, b"", None, [*account, note])

    def _account(self, record: Any, error: Exception, reason: str, attempts: int) -> list[tuple[str, Any]]:
        return [
            ("reason", reason),
            ("error", type(error).__name__),
            ("text", str(error) if isinstance(error, RejectedError) else place_of(error)),
            ("service", self.service),
            ("topic", record.topic),
            ("partition", record.partition),
            ("offset", record.offset),
            ("attempts", attempts),
            ("at", datetime.now(UTC).isoformat()),
        ]

    def stand_still(self, consumer: Consumer, record: Any, seconds: float) -> None:
        """Read this record again after `seconds`, and nothing else of its partition until then."""
        partition = TopicPartition(record.topic, record.partition)
        try:
            consumer.seek(partition, record.offset)
            consumer.pause(partition)
        except IllegalStateError:
            return
        task = asyncio.create_task(self._resume_after(consumer, partition, seconds))
        self.waiting[partition] = task
        task.add_done_callback(lambda _: self.waiting.pop(partition, None))

    async def _resume_after(self, consumer: Consumer, partition: TopicPartition, seconds: float) -> None:
        await asyncio.sleep(seconds)
        try:
            consumer.resume(partition)
        except IllegalStateError:
            _log.info("partition-moved", topic=partition.topic, partition=partition.partition)


def type_of(record: Any) -> str:
    """The record's event type as a metric's label: only types of the contracts, the rest is `unknown`."""
    try:
        kind = decode_headers(record.headers).get("ce_type", "")
    except BadMessage:
        return UNKNOWN
    return kind if kind in EVENT_TYPES else UNKNOWN


def reason_of(error: Exception) -> str:
    """One word: why a record is in the dead letter topic."""
    if isinstance(error, BadMessage):
        return error.reason
    if isinstance(error, RejectedError):
        return "rejected"
    if isinstance(error, ImagingError):
        return "retries-exhausted"
    return "crashed"
