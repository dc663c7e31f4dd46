"""Messaging without a server: names, routing, CloudEvents, retry bounds, settlement with fakes."""

import asyncio
import re
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from imaging_common.audit import AuditTrail
from imaging_common.errors import BadMessage, PublishFailed, RejectedError, RetryableError
from imaging_common.events import AuditRecorded, Envelope, StudyOpened, StudyPinned
from imaging_common.messaging import DeadLetterLimit, EventRouter, FakePublisher, RetryPolicy
from imaging_common.messaging.cloudevents import read_envelope, read_event, to_record
from imaging_common.messaging.commits import OffsetCommits
from imaging_common.messaging.consumer import SettleMiddleware
from imaging_common.messaging.settlement import Settlement
from imaging_common.messaging.topics import dead_letter_topic, source_topic, subscription_pattern
from imaging_common.testing.metrics import Counted

OPENED = StudyOpened(study_uid="1.2.3", holder="community", opened_at=datetime(2026, 11, 24, tzinfo=UTC))
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def record(topic: str = "study-used", **changes: Any) -> ConsumerRecord[bytes, bytes]:
    value, headers = to_record(OPENED, "gateway", "id-1", TRACEPARENT)
    fields: dict[str, Any] = {
        "topic": topic,
        "partition": 0,
        "offset": 7,
        "timestamp": 0,
        "timestamp_type": 0,
        "key": b"1.2.3",
        "value": value,
        "checksum": None,
        "serialized_key_size": 0,
        "serialized_value_size": 0,
        "headers": headers,
    }
    return ConsumerRecord(**(fields | changes))


async def ignore(event: StudyOpened, envelope: Envelope) -> None:
    return None


@pytest.mark.parametrize(
    ("topic", "matches"),
    [
        ("edge-events-community", True),
        ("edge-events-north-2", True),
        ("study-changed", True),
        ("edge-events-community-dlq-indexer", False),
        ("study-changed-dlq-indexer", False),
        ("edge-events-", False),
        ("edge-events-Community", False),
        ("my-study-changed", False),
        ("study-changed-too", False),
    ],
)
def test_subscription_takes_the_topics_of_its_templates_only(topic: str, matches: bool) -> None:
    pattern = re.compile(subscription_pattern(["study-changed", "edge-events-<hospital>"]))
    assert bool(pattern.match(topic)) is matches


def test_source_topic_is_found_when_the_name_is_a_dead_letter_topics() -> None:
    assert source_topic(dead_letter_topic("edge-events-community", "indexer")) == "edge-events-community"
    with pytest.raises(ValueError, match="not a dead letter"):
        source_topic("study-changed")


def test_router_finds_the_handler_of_a_type_on_a_topic() -> None:
    router = EventRouter()
    router.on(StudyOpened, "study-used", "edge-events-<hospital>")(ignore)
    assert router.find("StudyOpened", "study-used") is ignore
    assert router.find("StudyOpened", "edge-events-secondary") is ignore
    assert router.find("StudyOpened", "edge-events-secondary-dlq-x") is None
    assert router.find("StudyPinned", "study-used") is None


def test_router_refuses_a_second_handler_and_a_type_that_is_no_contract() -> None:
    router, other = EventRouter(), EventRouter()
    router.on(StudyOpened, "study-used")(ignore)
    other.on(StudyOpened, "study-used")(ignore)
    with pytest.raises(ValueError, match="two handlers"):
        router.include(other)
    with pytest.raises(ValueError, match="topic"):
        router.on(StudyOpened)

    class Stranger(StudyOpened):
        """Not among the contracts."""

    with pytest.raises(ValueError, match="not among the contracts"):
        router.on(Stranger, "study-used")


def test_event_survives_the_way_through_a_record() -> None:
    envelope = read_envelope(record())
    assert (envelope.id, envelope.type, envelope.source) == ("id-1", "StudyOpened", "/imaging/gateway")
    assert (envelope.topic, envelope.key, envelope.traceparent) == ("study-used", "1.2.3", TRACEPARENT)
    assert read_event(record(), envelope) == OPENED


def test_error_does_not_repeat_what_the_record_held() -> None:
    bad = record(value=b'{"study_uid": "\xe5\xbc\xa0\xe4\xb8\x89", "holder": "x"}')
    with pytest.raises(BadMessage) as caught:
        read_event(bad, read_envelope(bad))
    assert "张三" not in str(caught.value)
    assert "study_uid" in str(caught.value)


def test_policy_gives_up_at_its_bounds() -> None:
    policy = RetryPolicy(crash_attempts=3, away_seconds=10, first_delay=1, longest_delay=4)
    assert [policy.delay(n) for n in (1, 2, 3, 4, 500)] == [1, 2, 4, 4, 4]
    assert policy.gives_up(RejectedError("no"), 1, 0)
    assert not policy.gives_up(ValueError("crash"), 2, 0)
    assert policy.gives_up(ValueError("crash"), 3, 0)
    assert not policy.gives_up(RetryableError("away"), 50, 5)
    assert policy.gives_up(RetryableError("away"), 50, 7)


def test_dead_letters_are_limited_per_topic_and_allowed_again_later() -> None:
    now = [0.0]
    limit = DeadLetterLimit(burst=2, refill_seconds=10, clock=lambda: now[0])
    assert [limit.wait("a"), limit.wait("a"), limit.wait("a")] == [0, 0, 10]
    assert limit.exhausted() == ["a"]
    assert limit.wait("b") == 0
    now[0] = 4
    assert limit.wait("a") == 6
    now[0] = 10
    assert limit.wait("a") == 0
    limit.give_back("a")
    assert limit.wait("a") == 0


class FakeConsumer:
    """Remembers what was asked of it; `commit` waits for `gate`."""

    def __init__(self) -> None:
        self.committed: list[dict[TopicPartition, int]] = []
        self.calls: list[tuple[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        await self.gate.wait()
        self.committed.append(dict(offsets))

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("study-used", n) for n in range(3)}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.calls.append(("seek", offset))

    def pause(self, *partitions: TopicPartition) -> None:
        self.calls.append(("pause", partitions[0].partition))

    def resume(self, *partitions: TopicPartition) -> None:
        self.calls.append(("resume", partitions[0].partition))


async def test_commits_are_joined_while_one_is_under_way() -> None:
    commits, consumer = OffsetCommits(), FakeConsumer()
    consumer.gate.clear()
    for offset in range(10):
        commits.settled(consumer, record(offset=offset))
        await asyncio.sleep(0)
    commits.settled(consumer, record(topic="moved-away"))
    consumer.gate.set()
    await commits.flush()
    partition = TopicPartition("study-used", 0)
    assert consumer.committed == [{partition: 1}, {partition: 10}]


class FakeKafka:
    """Takes dead letters, or refuses them."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, bytes | None, dict[str, bytes]]] = []
        self.refuse: Exception | None = None

    async def send(self, topic: str, value: bytes | None, key: bytes | None, headers: Any) -> None:
        if self.refuse is not None and (not isinstance(self.refuse, RejectedError) or value):
            raise self.refuse
        self.sent.append((topic, value, key, dict(headers)))


def settlement(kafka: FakeKafka, **bounds: Any) -> Settlement:
    router = EventRouter()
    router.on(StudyOpened, "study-used")(ignore)
    policy = RetryPolicy(longest_delay=0.01)
    limit = bounds.get("limit", DeadLetterLimit())
    return Settlement("object-writer", router, kafka, policy, limit)  # type: ignore[arg-type]


async def test_dead_letter_carries_the_record_and_the_reason() -> None:
    kafka, consumer = FakeKafka(), FakeConsumer()
    assert await settlement(kafka).dead_letter(consumer, record(), RejectedError("refused"), 1)
    topic, value, key, headers = kafka.sent[0]
    assert (topic, value, key) == ("study-used-dlq-object-writer", record().value, b"1.2.3")
    assert (headers["dlq_reason"], headers["dlq_text"]) == (b"rejected", b"refused")
    assert (headers["dlq_topic"], headers["dlq_offset"]) == (b"study-used", b"7")
    assert headers["ce_type"] == b"StudyOpened"


async def test_text_of_an_unknown_error_is_not_written_down() -> None:
    kafka = FakeKafka()
    await settlement(kafka).dead_letter(FakeConsumer(), record(), ValueError("张三"), 4)
    assert "张三" not in str(kafka.sent)


async def test_value_is_dropped_when_the_dead_letter_is_too_large() -> None:
    kafka = FakeKafka()
    kafka.refuse = RejectedError("too large")
    assert await settlement(kafka).dead_letter(FakeConsumer(), record(), RejectedError("refused"), 1)
    assert kafka.sent[0][1] == b""
    assert "dlq_value_dropped" in kafka.sent[0][3]


async def test_partition_waits_when_the_dead_letter_cannot_be_written() -> None:
    kafka, consumer = FakeKafka(), FakeConsumer()
    kafka.refuse = PublishFailed("away")
    settled = settlement(kafka)
    assert not await settled.dead_letter(consumer, record(), RejectedError("refused"), 1)
    assert settled.blocked == {"study-used-dlq-object-writer"}
    await asyncio.gather(*settled.waiting.values())
    assert consumer.calls == [("seek", 7), ("pause", 0), ("resume", 0)]
    kafka.refuse = None
    assert await settled.dead_letter(consumer, record(), RejectedError("refused"), 1)
    assert settled.blocked == set()


def test_known_type_without_a_handler_is_passed_silently() -> None:
    value, headers = to_record(StudyPinned(study_uid="1.2", holder="h", case_id="c"), "consult", None, None)
    assert settlement(FakeKafka()).understand(record(value=value, headers=headers)).handler is None


def test_tries_survive_reading_the_same_record_again() -> None:
    settled = settlement(FakeKafka())
    settled.tries(record()).attempts = 3
    assert settled.tries(record()).attempts == 3
    assert settled.tries(record(offset=8)).attempts == 0


async def test_audit_record_is_published_and_failure_is_not_swallowed() -> None:
    publisher = FakePublisher()
    trail = AuditTrail("gateway", publisher)
    await trail.record(action="view", outcome="denied", user="doctor.community", reason="no-grant", study_uid="1.2")
    topic, event, key = publisher.published[0]
    assert (topic, key) == ("audit-recorded", "gateway")
    assert isinstance(event, AuditRecorded)
    assert (event.outcome, event.reason, publisher.event_ids) == ("denied", "no-grant", [event.audit_id])
    publisher.fail_with = PublishFailed("away")
    with pytest.raises(PublishFailed):
        await trail.record(action="view", outcome="success", user="doctor.community")


async def test_age_of_a_message_is_measured_when_it_was_handled() -> None:
    consumer = FakeConsumer()
    context = SimpleNamespace(get_local=lambda _: SimpleNamespace(consumer=consumer))
    message = record("study-used", timestamp=round((time.time() - 40) * 1000))
    labels = {"topic": "study-used", "type": "StudyOpened"}
    count = Counted("imaging_message_age_seconds_count", **labels)
    seconds = Counted("imaging_message_age_seconds_sum", **labels)
    handling = SettleMiddleware(message, context=context, settlement=settlement(FakeKafka()))
    await handling.__aexit__(None, None, None)
    assert count.grown == 1
    assert seconds.grown == pytest.approx(40, abs=5)
