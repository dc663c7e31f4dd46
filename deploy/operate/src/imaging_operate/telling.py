"""Says things on the region's topics as its operator; every call returns when Kafka has the records."""

import asyncio
from collections.abc import Iterable

from imaging_common.audit import Act, AuditTrail
from imaging_common.events import Event
from imaging_common.messaging.publisher import KafkaPublisher
from imaging_operate.settings import RegionSettings

SERVICE = "operate"
Message = tuple[str, Event, str]
"""(topic, event, key)"""


def tell(settings: RegionSettings, messages: Iterable[Message]) -> int:
    """Publish in this order; how many.

    Raises
    ------
    PublishFailed
        Kafka did not take one within its deadline; those before it are published.
    """

    async def publish() -> int:
        publisher, count = KafkaPublisher(SERVICE, settings), 0
        try:
            for topic, event, key in messages:
                await publisher.publish(topic, event, key)
                count += 1
        finally:
            await publisher.stop()
        return count

    return asyncio.run(publish())


def record(settings: RegionSettings, act: Act) -> None:
    """Put an act of the operator's into the audit record, before its result is shown.

    Raises
    ------
    PublishFailed
        The record is not durable.
    """

    async def publish() -> None:
        publisher = KafkaPublisher(SERVICE, settings)
        try:
            await AuditTrail(SERVICE, publisher).record(**act)
        finally:
            await publisher.stop()

    asyncio.run(publish())
