"""Says now and then how much lies where, for the operators' pages."""

from datetime import UTC, datetime

from imaging_common.events import StorageMeasured
from imaging_common.messaging import EventPublisher
from object_writer.ports.usage import StorageSums

TOPIC = "storage-measured"
KEY = "region"


class MeasureStorage:
    """A round: several copies say the same, and what Kafka does not take is measured again next time."""

    def __init__(self, sums: StorageSums, publisher: EventPublisher, cache_bytes: int) -> None:
        self._sums = sums
        self._publisher = publisher
        self._quota = cache_bytes

    async def __call__(self) -> None:
        """Add up and tell."""
        usage = await self._sums.usage()
        event = StorageMeasured(measured_at=datetime.now(UTC), usage=usage, cache_quota_bytes=self._quota)
        await self._publisher.publish(TOPIC, event, KEY)
