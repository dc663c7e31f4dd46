"""`python -m imaging_common.messaging.replay TOPIC [--limit N]`: sends a dead letter topic back to its source topic.

Reads up to the end that the topic had at the start, commits what was replayed (group
`replay-<topic>`), prints how many.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

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


async def replay(settings: ServiceSettings, topic: str, limit: int | None = None) -> int:
    """Return how many records of dead letter `topic` were sent back to its source topic.

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
        group_id=f"replay-{topic}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await consumer.start()
            partitions = await _partitions(consumer, topic)
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        return await _send_back(consumer, publisher, source, ends, limit)
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
) -> int:
    count = 0
    for partition, end in ends.items():
        consumer.pause(*(other for other in ends if other != partition))
        consumer.resume(partition)
        while await consumer.position(partition) < end and (limit is None or count < limit):
            async with asyncio.timeout(DEADLINE_SECONDS):
                record = await consumer.getone(partition)
            headers = [(name, value or b"") for name, value in record.headers if not name.startswith("dlq_")]
            await publisher.send(source, record.value, record.key, headers)
            await consumer.commit({partition: record.offset + 1})
            count += 1
    return count


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
