"""Publishes to Kafka: awaited until all in-sync replicas have it, idempotent, with a deadline; replaced when stuck."""

import asyncio
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from opentelemetry import trace

from imaging_common.errors import PublishFailed, RejectedError
from imaging_common.events import Event
from imaging_common.messaging.cloudevents import to_record
from imaging_common.messaging.connection import MAX_RECORD_BYTES, client_options
from imaging_common.settings import ServiceSettings
from imaging_common.telemetry.context import attached, current_traceparent
from imaging_common.telemetry.metrics import EVENTS_PUBLISHED

_log = structlog.get_logger(__name__)
_tracer = trace.get_tracer(__name__)
STOP_SECONDS = 5.0


class KafkaPublisher:
    """One producer per process, made at the first publication and made anew after a failure.

    An idempotent producer can get stuck on an out-of-order sequence (aiokafka #1017), and after an expired batch its
    sequence has a gap: so no producer outlives a failed send. The caller sees `PublishFailed` and publishes again.
    """

    def __init__(self, service: str, settings: ServiceSettings, deadline: float = 20.0) -> None:
        self._service = service
        self._settings = settings
        self._deadline = deadline
        self._producer: AIOKafkaProducer | None = None
        self._making = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def publish(
        self, topic: str, event: Event, key: str, *, traceparent: str | None = None, event_id: str | None = None
    ) -> None:
        """See `EventPublisher.publish`."""
        with (
            attached(traceparent),
            _tracer.start_as_current_span(
                f"publish {topic}",
                kind=trace.SpanKind.PRODUCER,
                attributes={
                    "messaging.system": "kafka",
                    "messaging.operation.type": "send",
                    "messaging.destination.name": topic,
                    "cloudevents.event_type": event.type_name(),
                },
            ),
        ):
            value, headers = to_record(event, self._service, event_id, current_traceparent())
            await self.send(topic, value, key.encode() if key else None, headers)
        EVENTS_PUBLISHED.labels(topic=topic, type=event.type_name()).inc()

    async def send(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> None:
        """Write one record as it is and wait for its acknowledgement (used for dead letters and their replay).

        Raises
        ------
        PublishFailed
            No acknowledgement within the deadline, or Kafka refuses.
        RejectedError
            The record is larger than the topic takes.
        """
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(self._deadline):
                producer = await self._get()
                await producer.send_and_wait(topic, value=value, key=key, headers=list(headers))
        except MessageSizeTooLargeError as error:
            raise RejectedError(f"the event is too large for {topic}") from error
        except (TimeoutError, KafkaError) as error:
            self._discard(producer)
            raise PublishFailed(f"{topic}: {type(error).__name__}") from error

    async def start(self) -> None:
        """Connect, if Kafka is there; a publication connects later otherwise."""
        try:
            async with asyncio.timeout(self._deadline):
                await self._get()
        except (TimeoutError, KafkaError) as error:
            _log.warning("kafka-not-reachable", error=type(error).__name__)

    async def stop(self) -> None:
        """Close the connection; everything that was acknowledged is durable."""
        self._discard(self._producer)
        if self._closing:
            await asyncio.wait(self._closing, timeout=STOP_SECONDS + 1)

    async def check(self) -> None:
        """Ask a broker for the cluster's metadata.

        Raises
        ------
        PublishFailed
            No broker answers.
        """
        try:
            async with asyncio.timeout(self._deadline):
                producer = await self._get()
                await producer.client.fetch_all_metadata()
        except (TimeoutError, KafkaError) as error:
            raise PublishFailed(f"kafka does not answer: {type(error).__name__}") from error

    async def _get(self) -> AIOKafkaProducer:
        if self._producer is not None:
            return self._producer
        async with self._making:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **client_options(self._settings, self._service),
                    acks="all",
                    enable_idempotence=True,
                    max_request_size=MAX_RECORD_BYTES,
                )
                try:
                    await producer.start()
                except BaseException:
                    self._close(producer)
                    raise
                self._producer = producer
            return self._producer

    def _discard(self, producer: AIOKafkaProducer | None) -> None:
        if producer is None:
            return
        if self._producer is producer:
            self._producer = None
        self._close(producer)

    def _close(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(_stop_within(producer, STOP_SECONDS))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _stop_within(producer: AIOKafkaProducer, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await producer.stop()
    except (TimeoutError, KafkaError) as error:
        _log.warning("producer-not-closed", error=type(error).__name__)
