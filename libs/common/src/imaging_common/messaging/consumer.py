"""One record from Kafka to its settlement: handled, acknowledged as not ours, or dead-lettered; then committed.

The middleware owns the order: bounded retry around the handler, dead letter (awaited) from the raw record, commit of
exactly this record's offset plus one. Whatever fails before the handler (parsing included) ends in `__aexit__` too.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faststream import BaseMiddleware
from opentelemetry import trace

from imaging_common.errors import BadMessage, ImagingError, RejectedError
from imaging_common.events import EVENT_TYPES, Envelope, Event
from imaging_common.messaging.cloudevents import decode_headers, read_envelope, read_event
from imaging_common.messaging.publisher import KafkaPublisher
from imaging_common.messaging.retry import DeadLetterLimit, RetryPolicy
from imaging_common.messaging.router import EventRouter, Handler
from imaging_common.messaging.topics import dead_letter_topic
from imaging_common.telemetry.context import context_of
from imaging_common.telemetry.logs import place_of
from imaging_common.telemetry.metrics import (
    HANDLER_SECONDS,
    MESSAGES_DEAD_LETTERED,
    MESSAGES_FAILED,
    MESSAGES_HANDLED,
)

_log = structlog.get_logger(__name__)
_tracer = trace.get_tracer(__name__)
UNKNOWN = "unknown"


class HandlerCrashed(Exception):
    """A handler was ended by a cancellation or exit of its own making, not by the service's stop."""


class Committer(Protocol):
    """What settlement needs of `aiokafka.AIOKafkaConsumer`."""

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Commit these positions of the group."""
        ...

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
        self.waiting: dict[TopicPartition, asyncio.Task[None]] = {}
        """Partitions that stand still because their topic's dead letter bucket is empty."""
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

    async def commit(self, consumer: Committer, record: Any) -> None:
        """Commit the offset after `record`. A failure means that it comes again, which handlers bear."""
        partition = TopicPartition(record.topic, record.partition)
        try:
            await consumer.commit({partition: record.offset + 1})
        except (KafkaError, IllegalStateError) as error:
            _log.warning(
                "offset-not-committed", topic=record.topic, partition=record.partition, error=type(error).__name__
            )

    async def dead_letter(self, consumer: Committer, record: Any, error: Exception, attempts: int) -> bool:
        """Put the record into the dead letter topic; False when the bucket is empty and the partition waits."""
        wait = self.limit.wait(record.topic)
        if wait > 0:
            self._stand_still(consumer, record, wait)
            return False
        reason = reason_of(error)
        headers = [
            *((name, value or b"") for name, value in record.headers),
            *((f"dlq_{name}", str(text).encode()) for name, text in self._account(record, error, reason, attempts)),
        ]
        topic = dead_letter_topic(record.topic, self.service)
        for attempt in range(1, 1_000_000):
            try:
                await self.publisher.send(topic, record.value, record.key, headers)
                self.blocked.discard(topic)
                break
            except RejectedError:
                headers = [(name, value) for name, value in headers if name.startswith("dlq_")]
                headers.append(("dlq_value_dropped", b"the record is larger than the topic takes"))
                record.value = None
            except ImagingError as failure:
                self.blocked.add(topic)
                _log.error("dead-letter-not-written", topic=topic, error=str(failure), attempt=attempt)
                await asyncio.sleep(self.policy.delay(attempt))
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

    def _stand_still(self, consumer: Committer, record: Any, seconds: float) -> None:
        partition = TopicPartition(record.topic, record.partition)
        try:
            consumer.seek(partition, record.offset)
            consumer.pause(partition)
        except IllegalStateError:
            return
        _log.error("dead-letter-limit-reached", topic=record.topic, partition=record.partition, seconds=seconds)
        task = asyncio.create_task(self._resume_after(consumer, partition, seconds))
        self.waiting[partition] = task
        task.add_done_callback(lambda _: self.waiting.pop(partition, None))

    async def _resume_after(self, consumer: Committer, partition: TopicPartition, seconds: float) -> None:
        await asyncio.sleep(seconds)
        try:
            consumer.resume(partition)
        except IllegalStateError:
            _log.info("partition-moved", topic=partition.topic, partition=partition.partition)


class SettleMiddleware(BaseMiddleware[Any, Any]):
    """See the module. FastStream makes one per record."""

    def __init__(self, msg: Any, /, *, context: Any, settlement: Settlement) -> None:
        super().__init__(msg, context=context)
        self._settlement = settlement
        self._attempts = 0
        self._started = time.monotonic()

    async def consume_scope(self, call_next: Any, msg: Any) -> Any:
        """Call the handler until it succeeds or the policy gives up."""
        policy = self._settlement.policy
        while True:
            self._attempts += 1
            try:
                return await _call(call_next, msg)
            except Exception as error:
                kind = type_of(self.msg)
                MESSAGES_FAILED.labels(topic=self.msg.topic, type=kind, error=type(error).__name__).inc()
                if policy.gives_up(error, self._attempts, time.monotonic() - self._started):
                    raise
                _log.warning(
                    "message-failed",
                    topic=self.msg.topic,
                    type=kind,
                    partition=self.msg.partition,
                    offset=self.msg.offset,
                    attempt=self._attempts,
                    error=type(error).__name__,
                    text=str(error) if isinstance(error, ImagingError) else place_of(error),
                )
                await asyncio.sleep(policy.delay(self._attempts))

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> bool | None:
        """Dead-letter what failed, then commit. Nothing is committed when the service is being stopped."""
        if exc_val is not None and not isinstance(exc_val, Exception):
            return False
        record = self.msg
        consumer: Committer = self.context.get_local("handler_").consumer
        if exc_val is not None:
            error = self._before_handler(exc_val) if self._attempts == 0 else exc_val
            if not await self._settlement.dead_letter(consumer, record, error, self._attempts):
                return True
        else:
            MESSAGES_HANDLED.labels(topic=record.topic, type=type_of(record)).inc()
        HANDLER_SECONDS.labels(topic=record.topic, type=type_of(record)).observe(time.monotonic() - self._started)
        await self._settlement.commit(consumer, record)
        return True

    def _before_handler(self, error: Exception) -> Exception:
        """What was wrong with a record that FastStream's parser gave up on."""
        try:
            self._settlement.understand(self.msg)
        except BadMessage as bad:
            return bad
        return error


async def _call(call_next: Any, msg: Any) -> Any:
    try:
        return await call_next(msg)
    except (asyncio.CancelledError, SystemExit) as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        raise HandlerCrashed(type(error).__name__) from error


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
