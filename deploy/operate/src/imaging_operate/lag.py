"""How far Kafka's readers are: records that a group has not settled yet, and dead letters that nobody replayed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from imaging_common.messaging.replay import replay_group
from imaging_common.messaging.topics import DEAD_LETTER_INFIX

DEADLINE_SECONDS = 30.0
NONE_COMMITTED = -1001
Place = tuple[str, int]
"""(topic, partition)"""


@dataclass(frozen=True, slots=True)
class Lag:
    """One group."""

    group: str
    state: str
    members: int
    behind: int
    """Records written and not yet settled."""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """One dead letter topic."""

    topic: str
    waiting: int
    """Records that were not replayed."""


def groups(admin: AdminClient) -> list[str]:
    """All consumer groups, sorted."""
    return sorted(one.group_id for one in admin.list_consumer_groups().result(DEADLINE_SECONDS).valid)


def committed(admin: AdminClient, group: str) -> dict[Place, int]:
    """Where a group goes on, by partition."""
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group]
    found = asked.result(DEADLINE_SECONDS).topic_partitions
    return {(one.topic, one.partition): one.offset for one in found if one.offset != NONE_COMMITTED}


def set_committed(admin: AdminClient, group: str, offsets: Mapping[Place, int]) -> None:
    """Let a group go on elsewhere; Kafka refuses while it has members."""
    if offsets:
        wanted = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
        asked = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)])[group]
        asked.result(DEADLINE_SECONDS)


def members(admin: AdminClient, names: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Group → (state, number of members)."""
    names = list(names)
    asked = admin.describe_consumer_groups(names) if names else {}
    found = {name: future.result(DEADLINE_SECONDS) for name, future in asked.items()}
    return {name: (ConsumerGroupState(one.state).name.lower(), len(one.members)) for name, one in found.items()}


def edges(admin: AdminClient, places: Iterable[Place], *, last: bool) -> dict[Place, int]:
    """The offset after the last record of each partition, or that of the first one that is still kept."""
    spec = OffsetSpec.latest() if last else OffsetSpec.earliest()
    asked = admin.list_offsets({TopicPartition(topic, number): spec for topic, number in places})
    return {(p.topic, p.partition): future.result(DEADLINE_SECONDS).offset for p, future in asked.items()}


def partitions(admin: AdminClient, *, inner: bool = False) -> list[Place]:
    """Every partition of every topic; Kafka's own (`__…`) only where asked for."""
    topics = admin.list_topics(timeout=DEADLINE_SECONDS).topics
    return sorted(
        (name, number)
        for name, topic in topics.items()
        if inner or not name.startswith("__")
        for number in topic.partitions
    )


def lags(admin: AdminClient) -> list[Lag]:
    """All groups but those of replays."""
    names = [name for name in groups(admin) if not name.startswith(replay_group(""))]
    places = {name: committed(admin, name) for name in names}
    ends = edges(admin, {place for offsets in places.values() for place in offsets}, last=True)
    found = members(admin, names)
    return [
        Lag(name, *found[name], sum(max(0, ends[place] - at) for place, at in places[name].items())) for name in names
    ]


def dead_letters(admin: AdminClient) -> list[DeadLetters]:
    """The dead letter topics that hold something that was not replayed as a whole."""
    places = [place for place in partitions(admin) if DEAD_LETTER_INFIX in place[0]]
    ends, begins = edges(admin, places, last=True), edges(admin, places, last=False)
    waiting: dict[str, int] = {}
    known = set(groups(admin))
    for topic in {topic for topic, _ in places}:
        group = replay_group(topic)
        done = committed(admin, group) if group in known else {}
        mine = [place for place in places if place[0] == topic]
        waiting[topic] = sum(ends[place] - max(begins[place], done.get(place, 0)) for place in mine)
    return [DeadLetters(topic, count) for topic, count in sorted(waiting.items()) if count]
