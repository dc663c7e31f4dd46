"""`Messaging`: one per process, made in `main.py`; publisher, handlers, live readers, and their health."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.security import SASLScram512

from imaging_common.errors import NotReady, PublishFailed
from imaging_common.messaging.connection import MAX_RECORD_BYTES, METADATA_MAX_AGE_MS, REQUEST_TIMEOUT_MS, tls_context
from imaging_common.messaging.consumer import SettleMiddleware
from imaging_common.messaging.lag import LagWatch
from imaging_common.messaging.publisher import KafkaPublisher
from imaging_common.messaging.reading import SteadyConsumer
from imaging_common.messaging.retry import DeadLetterLimit, RetryPolicy
from imaging_common.messaging.router import EventRouter
from imaging_common.messaging.settlement import Delivery, Settlement
from imaging_common.messaging.tail import Callback, Tail
from imaging_common.messaging.topics import subscription_pattern
from imaging_common.repeating import Repeating
from imaging_common.settings import ServiceSettings

_log = structlog.get_logger(__name__)
START_SECONDS = 120.0
START_ATTEMPT_SECONDS = 40.0
LAG_SECONDS = 2.0
LAG_METRICS_SECONDS = 5.0
"""Between two looks at how far the reader is behind."""


class Messaging:
    """A service's whole relation to Kafka.

    Parameters
    ----------
    service
        The service's name: CloudEvents source, dead letter suffix, consumer group.
    group
        Another consumer group (`edge-agent-<hospital>`).
    policy, limit
        Retry and dead letter bounds; the defaults are for services, tests shorten them.
    grace_seconds
        How long `stop` waits for the handlers at work.
    """

    def __init__(
        self,
        service: str,
        settings: ServiceSettings,
        *,
        group: str | None = None,
        policy: RetryPolicy | None = None,
        limit: DeadLetterLimit | None = None,
        grace_seconds: float = 15.0,
    ) -> None:
        self._grace_seconds = grace_seconds
        self._service = service
        self._settings = settings
        self._group = group or service
        self._router = EventRouter()
        self._tails: list[Tail] = []
        self._kafka = KafkaPublisher(service, settings)
        self._settlement = Settlement(
            service, self._router, self._kafka, policy or RetryPolicy(), limit or DeadLetterLimit()
        )
        self._broker: KafkaBroker | None = None
        self._subscriber: Any = None
        self._lag_watch = LagWatch(self._group)
        self._watching = Repeating("consumer-lag", self._measure_lag, LAG_METRICS_SECONDS)
        self._started = False

    @property
    def publisher(self) -> KafkaPublisher:
        """Publishes; usable before `start`."""
        return self._kafka

    def include(self, router: EventRouter) -> None:
        """Add a router's handlers; before `start`."""
        self._router.include(router)

    def tail(self, topics: Sequence[str], callback: Callback) -> None:
        """Have `callback` see every event written to `topics` from `start` on, in every copy of the service."""
        self._tails.append(Tail(self._service, self._settings, topics, callback))

    async def start(self) -> None:
        """Connect and begin to read. Waits for Kafka for up to two minutes.

        Raises
        ------
        NotReady
            Kafka is not there, or does not let this service in.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                for delay in chain((0.2, 0.5), repeat(1.0)):
                    if await self._try_start():
                        break
                    await asyncio.sleep(delay)
        except TimeoutError as error:
            raise NotReady("kafka cannot be reached") from error
        self._started = True
        await self._watching.start()

    async def stop(self) -> None:
        """Let the handlers at work finish, then disconnect; what was not finished is delivered again."""
        self._started = False
        await self._watching.stop()
        await self._lag_watch.measure(None)
        for tail in self._tails:
            await tail.stop()
        await self._stop_broker()
        for task in list(self._settlement.waiting.values()):
            task.cancel()
        await self._kafka.stop()

    async def check(self) -> None:
        """Raise when Kafka does not answer, or when a reader is not at work."""
        if not self._started:
            raise NotReady("messaging is not started")
        await self._kafka.check()
        if self._subscriber is not None and not any(not task.done() for task in self._subscriber.tasks):
            raise NotReady("the reader of events is not running")
        for tail in self._tails:
            tail.check()
        if self._settlement.blocked:
            raise NotReady(f"dead letter not writable: {', '.join(sorted(self._settlement.blocked))}")
        exhausted = self._settlement.limit.exhausted()
        if exhausted:
            raise NotReady(f"dead letter limit reached: {', '.join(sorted(exhausted))}")

    async def lag(self) -> int | None:
        """Records of the topics read with a group that were not read yet; None: not known (now)."""
        consumer = getattr(self._subscriber, "consumer", None)
        if not self._started or consumer is None:
            return None
        try:
            async with asyncio.timeout(LAG_SECONDS):
                marks = [(consumer.highwater(p), await consumer.position(p)) for p in consumer.assignment()]
        except (KafkaError, TimeoutError):
            return None
        lag: int = sum(max(0, high - position) for high, position in marks if high is not None)
        return lag

    async def _measure_lag(self) -> None:
        await self._lag_watch.measure(getattr(self._subscriber, "consumer", None))

    async def _try_start(self) -> bool:
        try:
            async with asyncio.timeout(START_ATTEMPT_SECONDS):
                await self._kafka.check()
                if self._router.topics:
                    self._build_broker()
                    await self._start_broker()
                for tail in self._tails:
                    await tail.start()
        except (KafkaError, PublishFailed, TimeoutError) as error:
            _log.warning("kafka-not-ready", error=type(error).__name__, text=str(error)[:200])
            for tail in self._tails:
                await tail.stop()
            await self._stop_broker()
            return False
        return True

    async def _start_broker(self) -> None:
        assert self._broker is not None
        options = await self._broker.connect()
        assert isinstance(options, partial)
        self._broker.config.broker_config.builder = partial(SteadyConsumer, **options.keywords)
        await self._broker.start()

    def _build_broker(self) -> None:
        settings = self._settings
        security = (
            SASLScram512(
                settings.kafka_username,
                settings.kafka_password.get_secret_value(),
                ssl_context=tls_context(settings),
                use_ssl=settings.kafka_tls,
            )
            if settings.kafka_username
            else None
        )
        self._broker = KafkaBroker(
            settings.kafka_bootstrap,
            client_id=self._service,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            consumer_only=True,
            allow_auto_create_topics=False,
            graceful_timeout=self._grace_seconds,
            middlewares=[partial(SettleMiddleware, settlement=self._settlement)],
            security=security,
            apply_types=False,
            logger=logging.getLogger("faststream.kafka"),
            log_level=logging.DEBUG,
        )
        self._subscriber = self._broker.subscriber(
            pattern=subscription_pattern(self._router.topics).replace("{", "{{").replace("}", "}}"),
            group_id=self._group,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            heartbeat_interval_ms=1_000,
            session_timeout_ms=15_000,
            max_poll_interval_ms=600_000,
            max_partition_fetch_bytes=MAX_RECORD_BYTES,
            no_reply=True,
            listener=self._settlement.commits,
            decoder=self._decode,
        )
        self._subscriber(self._handle)

    async def _decode(self, message: Any) -> Delivery:
        return self._settlement.understand(message.raw_message)

    async def _handle(self, delivery: Delivery) -> None:
        await self._settlement.handle(delivery)

    async def _stop_broker(self) -> None:
        if self._broker is not None:
            if self._subscriber is not None:
                self._subscriber.running = False
                await self._subscriber.lock.wait_release(self._grace_seconds)
                await self._settlement.commits.flush()
            await self._broker.stop()
            self._settlement.commits.cancel()
            self._broker = self._subscriber = None
