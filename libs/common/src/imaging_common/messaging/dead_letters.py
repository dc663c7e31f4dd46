"""Looks into dead letter topics: how many wait, since when, and why. Commits nothing; `replay` sends back."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from imaging_common.errors import NotReady
from imaging_common.messaging.connection import client_options
from imaging_common.messaging.reading import SteadyConsumer, UnreadableRecord
from imaging_common.messaging.replay import replay_group
from imaging_common.messaging.topics import DEAD_LETTER_INFIX
from imaging_common.settings import ServiceSettings

DEADLINE_SECONDS = 20.0
CLIENT = "dead-letters"
KEY_HASH_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class DeadTopic:
    """A dead letter topic with something in it."""

    name: str
    kept: int
    """Records that the topic still holds, replayed ones included."""
    begins: dict[int, int]
    """Partition → first offset that it holds."""
    ends: dict[int, int]
    """Partition → offset after the last."""
    replayed: dict[int, int]
    """Partition → everything before this offset was replayed."""
    oldest: datetime | None
    """When the first that was not replayed was put there."""
    newest: datetime | None

    @property
    def waiting(self) -> int:
        """Records that were not replayed as part of all."""
        return sum(end - self.first_waiting(partition) for partition, end in self.ends.items())

    def first_waiting(self, partition: int) -> int:
        """The offset from which on nothing was replayed as part of all."""
        return max(self.begins.get(partition, 0), self.replayed.get(partition, 0))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of a dead letter topic, as `Settlement` wrote it."""

    topic: str
    partition: int
    offset: int
    at: datetime
    headers: dict[str, str]
    """Those that are text: `dlq_reason`, `dlq_error`, `dlq_text`, `dlq_attempts`, `dlq_at`, `ce_type`, …"""
    key_hash: str
    """First digits of the key's SHA-256; empty: no key."""
    value: bytes | None

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset."""
        return self.partition, self.offset


class DeadLetterReader:
    """Reads with an operator's connection; every call opens one of its own."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    async def topics(self) -> list[DeadTopic]:
        """The dead letter topics that hold something, by name.

        Raises
        ------
        NotReady
            Kafka does not answer in time.
        """
        async with self._consumer() as consumer:
            partitions = await _partitions(consumer, lambda name: DEAD_LETTER_INFIX in name)
            if not partitions:
                return []
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            held = [p for p in partitions if ends[p] > begins[p]]
            replayed = await self._replayed({p.topic for p in held})
            found = []
            for name in sorted({p.topic for p in held}):
                mine = [p for p in held if p.topic == name]
                starts = {p: max(begins[p], replayed.get(p, 0)) for p in mine}
                oldest = [await _time_at(consumer, p, starts[p]) for p in mine if starts[p] < ends[p]]
                newest = [await _time_at(consumer, p, ends[p] - 1) for p in mine]
                found.append(
                    DeadTopic(
                        name,
                        sum(ends[p] - begins[p] for p in mine),
                        {p.partition: begins[p] for p in mine},
                        {p.partition: ends[p] for p in mine},
                        {p.partition: replayed[p] for p in mine if p in replayed},
                        min((at for at in oldest if at), default=None),
                        max((at for at in newest if at), default=None),
                    )
                )
            return found

    async def entries(self, topic: str, limit: int, *, before: int | None = None) -> list[DeadLetter]:
        """The newest records of the topic, those before offset `before`, newest first.

        Raises
        ------
        NotReady
            Kafka does not answer in time.
        """
        async with self._consumer() as consumer:
            partitions = await _partitions(consumer, lambda name: name == topic)
            if not partitions:
                return []
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            found: list[DeadLetter] = []
            for partition in partitions:
                end = min(ends[partition], before) if before is not None else ends[partition]
                start = max(begins[partition], end - limit)
                found += [letter_of(r) async for r in _read(consumer, partition, start, end)]
            return sorted(found, key=lambda letter: (letter.at, letter.offset), reverse=True)[:limit]

    async def some(self, topic: str, places: Collection[tuple[int, int]]) -> list[DeadLetter]:
        """These records (partition, offset), as far as the topic holds them."""
        async with self._consumer() as consumer:
            found = []
            for number, offset in sorted(places):
                partition = TopicPartition(topic, number)
                found += [letter_of(r) async for r in _read(consumer, partition, offset, offset + 1)]
            return found

    async def _replayed(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        admin = AIOKafkaAdminClient(**client_options(self._settings, CLIENT))
        found: dict[TopicPartition, int] = {}
        try:
            await admin.start()
            for topic in topics:
                offsets = await admin.list_consumer_group_offsets(replay_group(topic))
                found |= {p: m.offset for p, m in offsets.items() if p.topic == topic and m.offset >= 0}
        finally:
            await admin.close()
        return found

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[SteadyConsumer]:
        consumer = SteadyConsumer(
            **client_options(self._settings, CLIENT), group_id=None, auto_offset_reset="earliest",
            enable_auto_commit=False,
        )  # fmt: skip
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await consumer.start()
                yield consumer
        except (TimeoutError, KafkaError) as error:
            raise NotReady(f"dead letters cannot be read: {type(error).__name__}") from error
        finally:
            await consumer.stop()


def letter_of(record: Any) -> DeadLetter:
    """A record as it is shown."""
    unreadable = isinstance(record, UnreadableRecord)
    texts = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    key = record.key or b""
    return DeadLetter(
        record.topic,
        record.partition,
        record.offset,
        datetime.fromtimestamp(record.timestamp / 1000, UTC),
        {"dlq_reason": "unreadable"} if unreadable else texts,
        hashlib.sha256(key).hexdigest()[:KEY_HASH_CHARACTERS] if key else "",
        record.value,
    )


async def _partitions(consumer: SteadyConsumer, wanted: Callable[[str], bool]) -> list[TopicPartition]:
    """The partitions of those topics, of which the consumer knows then where they lie; it reads nothing of them yet."""
    metadata = await consumer._client.fetch_all_metadata()
    names = sorted(filter(wanted, metadata.topics()))
    found = [TopicPartition(name, number) for name in names for number in sorted(metadata.partitions_for_topic(name))]
    consumer.assign(found)
    consumer.pause(*found)
    return found


async def _read(consumer: SteadyConsumer, partition: TopicPartition, start: int, end: int) -> AsyncIterator[Any]:
    """The records from `start` to before `end`."""
    if start >= end:
        return
    consumer.assign([partition])
    consumer.seek(partition, start)
    while await consumer.position(partition) < end:
        record = await consumer.getone(partition)
        if record.offset >= end:
            return
        yield record


async def _time_at(consumer: SteadyConsumer, partition: TopicPartition, offset: int) -> datetime | None:
    async for record in _read(consumer, partition, offset, offset + 1):
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    return None
