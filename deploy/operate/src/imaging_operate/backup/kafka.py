"""Kafka in a backup: topics, permissions, where each group goes on, and what compacted topics hold."""

import base64
from collections.abc import Iterator
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, ResourceType
from pyrage import x25519

from imaging_common.messaging.administration import EVERY_ACL, apply
from imaging_common.messaging.permissions import SERVICES, Acl, Topic
from imaging_operate import lag, servers
from imaging_operate.backup.model import Kafka
from imaging_operate.backup.mongodb import Told
from imaging_operate.backup.sealing import seal, unsealed
from imaging_operate.backup.shelf import Shelf
from imaging_operate.console import OperatingError
from imaging_operate.settings import RegionSettings

DEADLINE_SECONDS = 30.0
READ_SECONDS = 60.0
Metadata = dict[str, Any]


def metadata(admin: AdminClient) -> Metadata:
    """What Kafka knows now. Groups' offsets come first: what they say is done is in a snapshot that is taken after."""
    names = [name for name in lag.groups(admin)]
    offsets = {name: lag.committed(admin, name) for name in names}
    places = lag.partitions(admin)
    topics = sorted({topic for topic, _ in places})
    described = admin.describe_topics(TopicCollection(topics)) if topics else {}
    configs = _configs(admin, topics)
    return {
        "cluster": admin.describe_cluster().result(DEADLINE_SECONDS).cluster_id,
        "topics": {
            name: {
                "id": str(described[name].result(DEADLINE_SECONDS).topic_id),
                "partitions": sum(topic == name for topic, _ in places),
                "config": configs[name],
            }
            for name in topics
        },
        "permissions": sorted(
            [
                [one.restype.name, one.name, one.resource_pattern_type.name, one.principal, one.operation.name]
                for one in admin.describe_acls(EVERY_ACL).result(DEADLINE_SECONDS)
            ]
        ),
        "offsets": {
            group: [[topic, number, at] for (topic, number), at in sorted(found.items())]
            for group, found in offsets.items()
        },
    }


def _configs(admin: AdminClient, topics: list[str]) -> dict[str, dict[str, str]]:
    asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in topics]) if topics else {}
    return {
        resource.name: {
            name: entry.value
            for name, entry in future.result(DEADLINE_SECONDS).items()
            if entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        }
        for resource, future in asked.items()
    }


def dump(
    settings: RegionSettings,
    known: Metadata,
    shelf: Shelf,
    backup: str,
    recipients: list[x25519.Recipient],
    told: Told,
) -> Kafka:
    """Save the metadata, and every record of the compacted topics: they are states and not a stream."""
    file = seal(shelf, f"{backup}/kafka/metadata.json.zst.age", [orjson.dumps(known)], recipients, compress=True)
    records, counts = {}, {}
    for topic, facts in known["topics"].items():
        if facts["config"].get("cleanup.policy") != "compact":
            continue
        lines = [orjson.dumps(one) + b"\n" for one in _records(settings, topic)]
        name = f"{backup}/kafka/{topic}.jsonl.zst.age"
        records[topic], counts[topic] = seal(shelf, name, lines, recipients, compress=True), len(lines)
        told(topic, len(lines))
    return Kafka(metadata=file, records=records, counts=counts)


def load(shelf: Shelf, saved: Kafka, identities: list[x25519.Identity]) -> Metadata:
    """The saved metadata."""
    with unsealed(shelf, saved.metadata, identities) as pieces:
        found: Metadata = orjson.loads(b"".join(pieces))
    return found


def _options(settings: RegionSettings) -> dict[str, Any]:
    return servers.kafka_options(settings) | {"client.id": "operate"}


def _records(settings: RegionSettings, topic: str) -> Iterator[dict[str, Any]]:
    """All records of a topic, as they are now."""
    admin = servers.kafka(settings)
    places = [place for place in lag.partitions(admin) if place[0] == topic]
    ends = lag.edges(admin, places, last=True)
    begins = lag.edges(admin, places, last=False)
    left = {number for (_, number), end in ends.items() if end > begins[topic, number]}
    consumer = Consumer(
        _options(settings) | {"group.id": "operate-backup", "enable.auto.commit": False, "enable.partition.eof": True}
    )
    try:
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in left])
        while left:
            record = consumer.poll(READ_SECONDS)
            if record is None:
                raise OperatingError(f"Kafka gave no record of {topic} for {READ_SECONDS:g} s: try again")
            if record.error():
                if record.error().code() != -191:  # the partition's end
                    raise KafkaException(record.error())
                left.discard(record.partition())
                continue
            yield {
                "key": _text(record.key()),
                "value": _text(record.value()),
                "headers": [[name, _text(value)] for name, value in record.headers() or []],
            }
            if record.offset() + 1 >= ends[topic, record.partition()]:
                left.discard(record.partition())
    finally:
        consumer.close()


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else base64.b64decode(value)


def restore_records(
    settings: RegionSettings, shelf: Shelf, saved: Kafka, identities: list[x25519.Identity], told: Told
) -> dict[str, int]:
    """Say again what compacted topics held, unless the topic holds something; topic → records.

    Raises
    ------
    OperatingError
        A topic is not there: the set-up has not run.
    """
    admin = servers.kafka(settings)
    places = lag.partitions(admin)
    counts: dict[str, int] = {}
    failures: list[Any] = []

    def note(error: Any, _: Any) -> None:
        if error:
            failures.append(error)

    producer = Producer(_options(settings) | {"acks": "all", "enable.idempotence": True})
    for topic, file in saved.records.items():
        mine = [place for place in places if place[0] == topic]
        if not mine:
            raise OperatingError(f"Kafka has no topic {topic}: run `region setup` before the restore")
        if any(lag.edges(admin, mine, last=True).values()):
            continue
        with unsealed(shelf, file, identities) as pieces:
            for line in b"".join(pieces).splitlines():
                one = orjson.loads(line)
                headers = [(name, _bytes(value)) for name, value in one["headers"]]
                producer.produce(
                    topic,
                    _bytes(one["value"]),
                    _bytes(one["key"]),
                    headers=headers,
                    on_delivery=note,
                )
                producer.poll(0)
                counts[topic] = counts.get(topic, 0) + 1
        if producer.flush(DEADLINE_SECONDS) or failures:
            raise OperatingError(f"Kafka did not take all records of {topic}: run the restore again")
        told(topic, counts.get(topic, 0))
    return counts


def rewind(settings: RegionSettings, known: Metadata) -> dict[str, int]:
    """Where Kafka survived, let every service go on where it was at the backup's time; group → records it reads again.

    Edge agents and EHRs lost nothing: they go on where they are. Only topics that are the same ones as then count; in a
    new Kafka this does nothing: groups begin at the beginning.

    Raises
    ------
    OperatingError
        A group has members: its service runs.
    """
    admin = servers.kafka(settings)
    now = metadata(admin)
    same = {name for name, facts in known["topics"].items() if now["topics"].get(name, {}).get("id") == facts["id"]}
    wanted = {
        group: {(topic, number): at for topic, number, at in found if topic in same}
        for group, found in known["offsets"].items()
        if group in SERVICES
    }
    wanted = {group: offsets for group, offsets in wanted.items() if offsets}
    busy = [name for name, (_, count) in lag.members(admin, wanted).items() if count]
    if busy:
        raise OperatingError(f"these services run, stop them before the restore: {', '.join(sorted(busy))}")
    again = {}
    for group, offsets in wanted.items():
        kept = lag.edges(admin, offsets, last=False)
        before = lag.committed(admin, group)
        offsets = {place: max(at, kept[place]) for place, at in offsets.items()}
        lag.set_committed(admin, group, offsets)
        again[group] = sum(max(0, before.get(place, at) - at) for place, at in offsets.items())
    return again


def restore_topics(settings: RegionSettings, known: Metadata) -> list[str]:
    """Make topics and permissions that the set-up did not: those of hospitals that joined later; which topics.

    Users cannot be saved, Kafka does not tell passwords: such a hospital gets a new package in the portal.
    """
    admin = servers.kafka(settings)
    there = admin.list_topics(timeout=DEADLINE_SECONDS).topics
    missing = [
        Topic(name, facts["partitions"], tuple(sorted(facts["config"].items())))
        for name, facts in known["topics"].items()
        if name not in there
    ]
    if missing:
        replication = max((len(p.replicas) for topic in there.values() for p in topic.partitions.values()), default=1)
        apply(admin, missing, [_acl(*one) for one in known["permissions"]], replication=replication)
    return [topic.name for topic in missing]


def _acl(resource: str, name: str, pattern: str, principal: str, operation: str) -> Acl:
    return Acl(principal.removeprefix("User:"), resource.lower(), name, operation, prefix=pattern == "PREFIXED")
