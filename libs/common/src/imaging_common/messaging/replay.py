"""`python -m imaging_common.messaging.replay TOPIC [--limit N]`: sends a dead letter topic back to its source topic.

Reads up to the end that the topic had at the start, commits what was replayed (group
`replay-<topic>`), prints how many. The operators' pages use it, too: `replay` for all, `replay_some` for chosen ones.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic_settings import SettingsConfigDict

from imaging_common.errors import ImagingError
from imaging_common.messaging.connection import client_options
from imaging_common.messaging.publisher import KafkaPublisher
from imaging_common.messaging.topics import source_topic
from imaging_common.settings import ServiceSettings

DEADLINE_SECONDS = 60.0


class ReplaySettings(ServiceSettings):
    """An operator's connection, from the environment with prefix `REPLAY_`."""

    model_config = SettingsConfigDict(env_prefix="REPLAY_")


def replay_group(topic: str) -> str:
    """The consumer group whose offsets say how much of a dead letter topic was replayed."""
    return f"replay-{topic}"


async def replay(
    settings: ServiceSettings,
    topic: str,
    limit: int | None = None,
    *,
    skip: Collection[tuple[int, int]] = (),
    told: Callable[[int], None] = lambda _: None,
) -> int:
    """Return how many records of dead letter `topic` were sent back to its source topic.

    Parameters
    ----------
    skip
        (partition, offset) of records that were sent back before, one by one.
    told
        Called with the number so far after each.

    Raises
    ------
    ValueError
        `topic` is not a dead letter topic.
    PublishFailed, KafkaError
        Kafka does not take a record; those before it are replayed and committed.
    """
    source = source_topic(topic)
    publisher = KafkaPublisher("replay", settings)
    consumer = AIOKafkaConsumer(
        **client_options(settings, "replay"),
        group_id=replay_group(topic),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await consumer.start()
            partitions = await _partitions(consumer, topic)
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        return await _send_back(consumer, publisher, source, ends, limit, frozenset(skip), told)
    finally:
        await consumer.stop()
        await publisher.stop()


async def replay_some(
    settings: ServiceSettings,
    topic: str,
    places: Collection[tuple[int, int]],
    *,
    told: Callable[[tuple[int, int]], Awaitable[object]] | None = None,
) -> int:
    """Send back these records (partition, offset) and no others; the group's offsets stay as they are.

    Parameters
    ----------
    told
        Awaited with each that is durable in the source topic.

    Raises
    ------
    ValueError
        `topic` is not a dead letter topic.
    PublishFailed, KafkaError
        Kafka does not take a record; those before it are replayed.
    """
    source = source_topic(topic)
    publisher = KafkaPublisher("replay", settings)
    consumer = AIOKafkaConsumer(
        **client_options(settings, "replay"), group_id=None, auto_offset_reset="earliest", enable_auto_commit=False
    )
    count = 0
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await consumer.start()
            partitions = await _partitions(consumer, topic)
        consumer.assign(partitions)
        consumer.pause(*partitions)
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        for partition in partitions:
            held = range(begins[partition], ends[partition])
            for offset in sorted(o for number, o in places if number == partition.partition and o in held):
                consumer.assign([partition])
                consumer.seek(partition, offset)
                async with asyncio.timeout(DEADLINE_SECONDS):
                    record = await consumer.getone(partition)
                if record.offset != offset:
                    continue
                await _send(publisher, source, record)
                if told is not None:
                    await told((partition.partition, offset))
                count += 1
        return count
    finally:
        await consumer.stop()
        await publisher.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    metadata = await consumer._client.fetch_all_metadata()
    numbers = metadata.partitions_for_topic(topic)
    if not numbers:
        raise ValueError(f"there is no topic {topic}, or it may not be read")
    return [TopicPartition(topic, number) for number in sorted(numbers)]


async def _send_back(
    consumer: AIOKafkaConsumer,
    publisher: KafkaPublisher,
    source: str,
    ends: dict[TopicPartition, int],
    limit: int | None,
    skip: frozenset[tuple[int, int]],
    told: Callable[[int], None],
) -> int:
    count = 0
    for partition, end in ends.items():
        consumer.pause(*(other for other in ends if other != partition))
        consumer.resume(partition)
        while await consumer.position(partition) < end and (limit is None or count < limit):
            async with asyncio.timeout(DEADLINE_SECONDS):
                record = await consumer.getone(partition)
            if (partition.partition, record.offset) not in skip:
                await _send(publisher, source, record)
                count += 1
            await consumer.commit({partition: record.offset + 1})
            told(count)
    return count


async def _send(publisher: KafkaPublisher, source: str, record: Any) -> None:
    headers = [(name, value or b"") for name, value in record.headers if not name.startswith("dlq_")]
    await publisher.send(source, record.value, record.key, headers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: prints the number, exits non-zero on failure."""
    parser = argparse.ArgumentParser(prog="replay", description="Sends a dead letter topic back to its source topic.")
    parser.add_argument("topic", help="<topic>-dlq-<service>")
    parser.add_argument("--limit", type=int, default=None, help="at most so many")
    options = parser.parse_args(arguments)
    try:
        count = asyncio.run(replay(ReplaySettings(), options.topic, options.limit))
    except (ValueError, ImagingError, KafkaError, TimeoutError) as error:
        print(f"replay failed: {type(error).__name__} {error}", file=sys.stderr)
        return 1
    print(f"{count} replayed to {source_topic(options.topic)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
