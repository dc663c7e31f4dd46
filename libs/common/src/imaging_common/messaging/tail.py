"""Reads topics without a group, from their end: for open pages. What is missed is read from the store."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiokafka.errors import KafkaError

from imaging_common.errors import BadMessage, NotReady
from imaging_common.events import Envelope, Event
from imaging_common.messaging.cloudevents import read_envelope, read_event
from imaging_common.messaging.connection import client_options
from imaging_common.messaging.reading import SteadyConsumer
from imaging_common.messaging.topics import subscription_pattern
from imaging_common.settings import ServiceSettings

_log = structlog.get_logger(__name__)
Callback = Callable[[Event, Envelope], Awaitable[None]]
AGAIN_SECONDS = 1.0
START_SECONDS = 30.0


class Tail:
    """Every copy of a service reads all partitions; records that are no events are skipped (their group's reader
    dead-letters them)."""

    def __init__(self, service: str, settings: ServiceSettings, topics: Sequence[str], callback: Callback) -> None:
        self._service = service
        self._settings = settings
        self._pattern = subscription_pattern(list(topics))
        self._callback = callback
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when everything written from now on will be read."""
        consumer = await self._connect()
        self._task = asyncio.create_task(self._run(consumer))

    async def stop(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def check(self) -> None:
        """Raise when nobody reads."""
        if self._task is None or self._task.done():
            raise NotReady("the reader of live events is not running")

    async def _connect(self) -> SteadyConsumer:
        consumer = SteadyConsumer(
            **client_options(self._settings, self._service),
            group_id=None,
            auto_offset_reset="latest",
            enable_auto_commit=False,
        )
        consumer.subscribe(pattern=self._pattern)
        try:
            async with asyncio.timeout(START_SECONDS):
                await consumer.start()
                for partition in consumer.assignment():
                    await consumer.position(partition)
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    async def _run(self, consumer: SteadyConsumer) -> None:
        while True:
            try:
                await self._read(consumer)
            except KafkaError as error:
                _log.warning("tail-interrupted", error=type(error).__name__)
            finally:
                await consumer.stop()
            consumer = await self._reconnect()

    async def _reconnect(self) -> SteadyConsumer:
        while True:
            await asyncio.sleep(AGAIN_SECONDS)
            try:
                return await self._connect()
            except (KafkaError, TimeoutError) as error:
                _log.warning("tail-not-connected", error=type(error).__name__)

    async def _read(self, consumer: SteadyConsumer) -> None:
        async for record in consumer:
            try:
                envelope = read_envelope(record)
                event = read_event(record, envelope)
            except BadMessage as error:
                _log.warning("live-event-skipped", topic=record.topic, offset=record.offset, reason=error.reason)
                continue
            try:
                await self._callback(event, envelope)
            except Exception as error:
                _log.error("live-event-failed", topic=record.topic, type=envelope.type, error=type(error).__name__)
