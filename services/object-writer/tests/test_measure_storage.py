"""What lies where is said with its quota, for the operators' pages."""

from imaging_common.events import StorageMeasured, TierUsage
from imaging_common.messaging import FakePublisher
from object_writer.ports.usage import FakeStorageSums
from object_writer.usecases.measure_storage import MeasureStorage


async def test_storage_is_told_with_the_quota() -> None:
    usage = [TierUsage(hospital="community", tier="archive", bytes=5, objects=1)]
    publisher = FakePublisher()
    await MeasureStorage(FakeStorageSums(usage), publisher, 100)()
    ((topic, event, key),) = publisher.published
    assert isinstance(event, StorageMeasured)
    assert (topic, key, event.usage, event.cache_quota_bytes) == ("storage-measured", "region", usage, 100)
