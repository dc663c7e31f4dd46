"""Commits the offsets of settled records, several at once while a commit is under way (one takes Kafka some 7 ms).

An offset is handed over only after its record was handled or is durable in the dead letter topic, so what is lost
here (a crash, a rebalance) is only delivered again.
"""

import asyncio
from typing import Any, Protocol

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

_log = structlog.get_logger(__name__)
AGAIN_SECONDS = 1.0


class Committer(Protocol):
    """What committing needs of `aiokafka.AIOKafkaConsumer`."""

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Commit these positions of the group."""
        ...

    def assignment(self) -> set[TopicPartition]:
        """The partitions that this consumer reads now."""
        ...


class OffsetCommits(ConsumerRebalanceListener):  # type: ignore[misc]
    """One per consumer."""

    def __init__(self) -> None:
        self._pending: dict[TopicPartition, int] = {}
        self._task: asyncio.Task[None] | None = None

    def settled(self, consumer: Committer, record: Any) -> None:
        """Commit `record.offset + 1` soon."""
        self._pending[TopicPartition(record.topic, record.partition)] = record.offset + 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(consumer))

    async def flush(self, seconds: float = 5.0) -> None:
        """Wait until everything settled so far is committed, for so long at most."""
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=seconds)

    def cancel(self) -> None:
        """Give up on what is not committed."""
        if self._task is not None:
            self._task.cancel()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Commit before the partitions go to another member."""
        await self.flush(2.0)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Nothing to do: reading goes on from the committed offsets."""

    async def _run(self, consumer: Committer) -> None:
        while self._pending:
            batch, self._pending = self._pending, {}
            assigned = consumer.assignment()
            batch = {partition: offset for partition, offset in batch.items() if partition in assigned}
            try:
                if batch:
                    await consumer.commit(batch)
            except (CommitFailedError, IllegalStateError) as error:
                _log.info("offsets-not-committed", partitions=len(batch), error=type(error).__name__)
            except KafkaError as error:
                _log.warning("offsets-not-committed", partitions=len(batch), error=type(error).__name__)
                self._pending = batch | self._pending
                await asyncio.sleep(AGAIN_SECONDS)
