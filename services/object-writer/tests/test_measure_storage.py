"""What lies where is said with its quota, for the operators' pages."""

from datetime import UTC, datetime, timedelta

import pytest

from imaging_common.events import StorageMeasured, TierUsage
from imaging_common.messaging import FakePublisher
from imaging_common.testing.metrics import gauge
from object_writer.ports.usage import FakeStorageSums
from object_writer.usecases.measure_storage import MeasureStorage


async def test_storage_is_told_with_the_quota() -> None:
    usage = [TierUsage(hospital="community", tier="archive", bytes=5, objects=1)]
    publisher = FakePublisher()
    await MeasureStorage(FakeStorageSums(usage), publisher, 100)()
    ((topic, event, key),) = publisher.published
    assert isinstance(event, StorageMeasured)
    assert (topic, key, event.usage, event.cache_quota_bytes) == ("storage-measured", "region", usage, 100)


async def test_tiers_and_the_longest_wait_are_metrics_and_an_emptied_tier_shows_nothing() -> None:
    oldest = datetime.now(UTC) - timedelta(hours=2)
    sums = FakeStorageSums([TierUsage(hospital="tcm", tier="staging", bytes=70, objects=2)], oldest)
    measure = MeasureStorage(sums, FakePublisher(), 100)
    labels = {"hospital": "tcm", "tier": "staging"}
    await measure()
    assert gauge("imaging_storage_bytes", **labels) == 70
    assert gauge("imaging_storage_objects", **labels) == 2
    assert gauge("imaging_staging_oldest_seconds") == pytest.approx(7200, abs=60)
    sums.sums, sums.oldest = [], None
    await measure()
    assert gauge("imaging_storage_bytes", **labels) == 0
    assert gauge("imaging_staging_oldest_seconds") == 0
