"""How far a reader is behind, per partition, as metrics: what waits, and for how long nothing of it was read."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from imaging_common.telemetry.metrics import CONSUMER_LAG, CONSUMER_STANDSTILL

POSITION_SECONDS = 2.0
"""A reader that does not know its place yet is left out of this look."""


class Reader(Protocol):
    """What is asked of `aiokafka.AIOKafkaConsumer`."""

    def assignment(self) -> Iterable[TopicPartition]:
        """The partitions that this reader has now."""
        ...

    def highwater(self, partition: TopicPartition) -> int | None:
        """The offset after the last message; None: not known yet."""
        ...

    async def position(self, partition: TopicPartition) -> int:
        """The offset that is read next."""
        ...


class LagWatch:
    """The gauges of one reader; a partition that another reader took over leaves them.

    Parameters
    ----------
    group
        The consumer group, as the metrics' label.
    """

    def __init__(self, group: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._group = group
        self._clock = clock
        self._moved: dict[TopicPartition, tuple[int, float]] = {}
        """The position when it last changed or nothing waited, and when that was."""

    async def measure(self, reader: Reader | None) -> None:
        """Set the gauges; without a reader they go."""
        partitions = set(reader.assignment()) if reader is not None else set()
        for partition in self._moved.keys() - partitions:
            self._forget(partition)
        if reader is None:
            return
        for partition in partitions:
            high = reader.highwater(partition)
            try:
                async with asyncio.timeout(POSITION_SECONDS):
                    position = await reader.position(partition)
            except (KafkaError, TimeoutError):
                continue
            if high is not None:
                self._set(partition, position, max(0, high - position))

    def _set(self, partition: TopicPartition, position: int, lag: int) -> None:
        now = self._clock()
        before = self._moved.get(partition)
        if before is None or not lag or before[0] != position:
            before = self._moved[partition] = (position, now)
        labels = (self._group, partition.topic, str(partition.partition))
        CONSUMER_LAG.labels(*labels).set(lag)
        CONSUMER_STANDSTILL.labels(*labels).set(now - before[1])

    def _forget(self, partition: TopicPartition) -> None:
        del self._moved[partition]
        for gauge in (CONSUMER_LAG, CONSUMER_STANDSTILL):
            gauge.remove(self._group, partition.topic, str(partition.partition))
