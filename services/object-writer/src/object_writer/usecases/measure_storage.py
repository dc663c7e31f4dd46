"""Says now and then how much lies where, for the operators' pages."""

from datetime import UTC, datetime

from prometheus_client import Gauge

from imaging_common.events import StorageMeasured, TierUsage
from imaging_common.events.storage import Tier
from imaging_common.messaging import EventPublisher
from object_writer.ports.usage import StorageSums

TOPIC = "storage-measured"
KEY = "region"
BYTES = Gauge("imaging_storage_bytes", "Bytes that lie in a tier", ["hospital", "tier"])
OBJECTS = Gauge("imaging_storage_objects", "Packs, staged batches or cached studies in a tier", ["hospital", "tier"])
OLDEST = Gauge(
    "imaging_staging_oldest_seconds", "Seconds since the series was sent that has waited longest for its pack"
)


class MeasureStorage:
    """A round: several copies say the same, and what Kafka does not take is measured again next time."""

    def __init__(self, sums: StorageSums, publisher: EventPublisher, cache_bytes: int) -> None:
        self._sums = sums
        self._publisher = publisher
        self._quota = cache_bytes
        self._shown: set[tuple[str, Tier]] = set()

    async def __call__(self) -> None:
        """Add up and tell."""
        usage = await self._sums.usage()
        oldest = await self._sums.oldest_waiting()
        self._show(usage)
        OLDEST.set(0.0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds()))
        event = StorageMeasured(measured_at=datetime.now(UTC), usage=usage, cache_quota_bytes=self._quota)
        await self._publisher.publish(TOPIC, event, KEY)

    def _show(self, usage: list[TierUsage]) -> None:
        sums = {(one.hospital, one.tier): one for one in usage}
        self._shown |= sums.keys()
        for hospital, tier in self._shown:
            found = sums.get((hospital, tier))
            BYTES.labels(hospital, tier).set(found.bytes if found else 0)
            OBJECTS.labels(hospital, tier).set(found.objects if found else 0)
