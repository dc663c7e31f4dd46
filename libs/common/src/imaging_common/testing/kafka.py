"""Small helpers for tests against a real Kafka: topics of one's own, raw records in, everything a topic holds out."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka import Producer

from imaging_common.messaging.connection import client_options
from imaging_common.settings import ServiceSettings
from imaging_common.testing.waiting import until

Headers = Sequence[tuple[str, bytes]]


async def create_topics(settings: ServiceSettings, *names: str, partitions: int = 1) -> None:
    """Create topics, and return when every broker knows them."""
    options = client_options(settings, "test")
    admin = AIOKafkaAdminClient(**options)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1) for name in names], timeout_ms=10_000)

        async def known() -> bool:
            return all(len(d["partitions"]) == partitions for d in await admin.describe_topics(list(names)))

        await until(known, 20, "topics created")
    finally:
        await admin.close()


async def send_raw(
    settings: ServiceSettings,
    topic: str,
    records: Sequence[tuple[bytes | None, bytes | None, Headers]],
    compression: str | None = None,
) -> None:
    """Write records (key, value, headers) as they are, in order, acknowledged."""
    producer = AIOKafkaProducer(
        **client_options(settings, "test"), acks="all", enable_idempotence=True, compression_type=compression
    )
    await producer.start()
    try:
        for key, value, headers in records:
            if key is None and value is None:
                await asyncio.to_thread(_send_nothing, settings, topic, headers)
                continue
            await producer.send_and_wait(topic, value=value, key=key, headers=list(headers), partition=0)
    finally:
        await producer.stop()


async def read_all(settings: ServiceSettings, topic: str) -> list[Any]:
    """Every record the topic holds now, partition by partition."""
    consumer = AIOKafkaConsumer(
        topic, **client_options(settings, "test"), auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    records: list[Any] = []
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        for partition, end in sorted(ends.items()):
            consumer.pause(*(other for other in ends if other != partition))
            consumer.resume(partition)
            while await consumer.position(partition) < end:
                async with asyncio.timeout(20):
                    records.append(await consumer.getone(partition))
    finally:
        await consumer.stop()
    return records


async def committed(settings: ServiceSettings, group: str, topic: str, partition: int = 0) -> int | None:
    """The group's committed offset."""
    admin = AIOKafkaAdminClient(**client_options(settings, "test"))
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    found = offsets.get(TopicPartition(topic, partition))
    return None if found is None or found.offset < 0 else int(found.offset)


def _send_nothing(settings: ServiceSettings, topic: str, headers: Headers) -> None:
    """A record with neither key nor value, which aiokafka refuses to write."""
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": settings.kafka_username,
            "sasl.password": settings.kafka_password.get_secret_value(),
            "acks": "all",
        }
    )
    producer.produce(topic, value=None, key=None, headers=list(headers), partition=0)
    if producer.flush(20):
        raise TimeoutError("the record was not acknowledged")
