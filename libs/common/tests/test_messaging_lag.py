"""Lag per partition: what waits is counted, a partition that stands still is timed, one that is lost disappears."""

from aiokafka import TopicPartition
from prometheus_client import REGISTRY

from imaging_common.messaging.lag import LagWatch

FIRST, SECOND = TopicPartition("study-lagging", 0), TopicPartition("study-lagging", 1)


class FakeReader:
    """Partitions with (position, end)."""

    def __init__(self, **places: tuple[int, int | None]) -> None:
        self.places = {TopicPartition("study-lagging", int(name[1:])): place for name, place in places.items()}

    def assignment(self) -> set[TopicPartition]:
        return set(self.places)

    def highwater(self, partition: TopicPartition) -> int | None:
        return self.places[partition][1]

    async def position(self, partition: TopicPartition) -> int:
        return self.places[partition][0]


def shown(metric: str, partition: TopicPartition) -> float | None:
    labels = {"group": "indexer", "topic": partition.topic, "partition": str(partition.partition)}
    return REGISTRY.get_sample_value(f"imaging_consumer_{metric}", labels)


async def test_what_waits_is_counted_and_standing_still_is_timed_until_it_moves() -> None:
    now = [100.0]
    watch = LagWatch("indexer", clock=lambda: now[0])
    reader = FakeReader(p0=(5, 9), p1=(7, 7))
    await watch.measure(reader)
    now[0] = 160.0
    await watch.measure(reader)
    assert (shown("lag_messages", FIRST), shown("standstill_seconds", FIRST)) == (4, 60)
    assert (shown("lag_messages", SECOND), shown("standstill_seconds", SECOND)) == (0, 0)
    reader.places[FIRST] = (6, 9)
    await watch.measure(reader)
    assert (shown("lag_messages", FIRST), shown("standstill_seconds", FIRST)) == (3, 0)


async def test_partition_that_another_reader_has_now_is_shown_no_more() -> None:
    watch = LagWatch("indexer")
    await watch.measure(FakeReader(p0=(5, 9), p1=(5, 9)))
    await watch.measure(FakeReader(p1=(5, None)))
    assert shown("lag_messages", FIRST) is None
    assert shown("lag_messages", SECOND) == 4
    await watch.measure(None)
    assert shown("lag_messages", SECOND) is None
