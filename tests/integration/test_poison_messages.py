"""The ledger of poison messages on a real Kafka: each costs one message, none vanishes, none blocks its partition."""

import asyncio
import json
import os
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from imaging_common.errors import NotReady, PublishFailed, RejectedError, RetryableError
from imaging_common.events import Envelope, Event, StudyOpened, StudyPinned
from imaging_common.messaging import DeadLetterLimit, EventRouter, Messaging, RetryPolicy
from imaging_common.messaging.cloudevents import to_record
from imaging_common.messaging.replay import replay
from imaging_common.messaging.topics import dead_letter_topic
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import committed, create_topics, read_all, send_raw
from imaging_common.testing.waiting import until

QUICK = RetryPolicy(crash_attempts=3, away_seconds=0.5, first_delay=0.05, longest_delay=0.2)
Record = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


@pytest.fixture
def settings(servers: Any) -> ServiceSettings:
    """The operator's connection: may create topics of its own for these tests."""
    return ServiceSettings(
        kafka_bootstrap=servers.kafka.bootstrap,
        kafka_username="admin",
        kafka_password=SecretStr(servers.kafka.passwords["admin"]),
    )


def opened(holder: str) -> StudyOpened:
    return StudyOpened(study_uid="1.2.3", holder=holder, opened_at=datetime(2026, 11, 24, tzinfo=UTC))


def good(holder: str = "good", key: bytes | None = b"1.2.3") -> Record:
    return (key, *to_record(opened(holder), "test", None, None))


def changed(record: Record, **headers: bytes | None) -> Record:
    key, value, old = record
    kept = [(n, v) for n, v in old if n.replace("-", "_") not in headers]
    return key, value, [*kept, *((n, v) for n, v in headers.items() if v is not None)]


def poison() -> dict[str, tuple[Record, str]]:
    """Kind → (record, the reason its dead letter must carry)."""
    key, _, headers = good()
    return {
        "bytes-key": (good(key=b"\xff\xfe"), "bad-key"),
        "tombstone": ((key, None, headers), "tombstone"),
        "null-key-tombstone": ((None, None, headers), "tombstone"),
        "null-key": ((None, b"{}", headers), "wrong-schema"),
        "bad-header": (changed(good(), ce_source=b"\xff\xfe"), "bad-header"),
        "bad-time": (changed(good(), ce_time=b"yesterday"), "bad-header"),
        "no-type": (changed(good(), ce_type=None), "missing-header"),
        "no-headers": ((key, b"{}", []), "missing-header"),
        "bad-json": ((key, b"{not json", headers), "bad-json"),
        "not-utf-8": ((key, b"\xff\xfe{}", headers), "bad-json"),
        "wrong-schema": ((key, b'{"study_uid": "../../etc", "holder": "x"}', headers), "wrong-schema"),
        "unknown-type": (changed(good(), ce_type=b"NobodyKnows"), "unknown-type"),
        "rejected": (good("rejected"), "rejected"),
        "retryable": (good("retryable"), "retries-exhausted"),
        "crash": (good("crash"), "crashed"),
        "cancelled": (good("cancelled"), "crashed"),
        "exit": (good("exit"), "crashed"),
    }


class Service:
    """A service whose handler misbehaves as the holder's name says."""

    def __init__(self, settings: ServiceSettings, **bounds: Any) -> None:
        suffix = uuid4().hex[:8]
        self.name = f"svc-{suffix}"
        self.topic = f"poison{suffix}-events-community"
        self.dead = dead_letter_topic(self.topic, self.name)
        self.settings = settings
        self.seen: Counter[str] = Counter()
        self.broken = True
        router = EventRouter()
        router.on(StudyOpened, f"poison{suffix}-events-<hospital>")(self.handle_study_opened)
        self.messaging = Messaging(self.name, settings, **({"policy": QUICK} | bounds))
        self.messaging.include(router)

    async def handle_study_opened(self, event: StudyOpened, envelope: Envelope) -> None:
        self.seen[event.holder] += 1
        assert envelope.topic.startswith(self.topic.partition("-")[0])
        if not self.broken:
            return
        match event.holder:
            case "rejected":
                raise RejectedError("refused for good")
            case "retryable":
                raise RetryableError("the store is away")
            case "crash":
                raise ValueError("a name that nobody may read: 张三")
            case "cancelled":
                raise asyncio.CancelledError
            case "exit":
                raise SystemExit(3)

    async def __aenter__(self) -> "Service":
        await create_topics(self.settings, self.topic, self.dead)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.messaging.stop()


async def test_partition_moves_on_and_nothing_vanishes_when_messages_are_poison(settings: ServiceSettings) -> None:
    async with Service(settings) as service:
        kinds = poison()
        records: list[Record] = []
        for number, (record, _) in enumerate(kinds.values()):
            records += [record, good(f"good-{number}")]
        not_ours: Event = StudyPinned(study_uid="1.2.3", holder="community", case_id="c")
        records.append((b"1.2.3", *to_record(not_ours, "test", None, None)))
        records.append(changed(good("replying"), reply_to=service.dead.encode()))
        await send_raw(settings, service.topic, records)
        await service.messaging.start()

        async def all_committed() -> bool:
            return await committed(settings, service.name, service.topic) == len(records)

        await until(all_committed, 60, "all offsets committed")
        await service.messaging.check()
        letters = await read_all(settings, service.dead)
        assert [dict(letter.headers)["dlq_reason"].decode() for letter in letters] == [r for _, r in kinds.values()]
        for letter, (kind, (record, _)) in zip(letters, kinds.items(), strict=True):
            headers = dict(letter.headers)
            assert (letter.key, letter.value) == (record[0], b"" if record[:2] == (None, None) else record[1]), kind
            assert [h for h in letter.headers if not h[0].startswith("dlq_")] == record[2], kind
            assert headers["dlq_topic"].decode() == service.topic
            assert "张三" not in str(headers)
        assert all(service.seen[f"good-{n}"] == 1 for n in range(len(kinds)))
        assert service.seen["replying"] == 1
        assert service.seen["rejected"] == 1
        assert service.seen["crash"] == service.seen["cancelled"] == service.seen["exit"] == 3
        assert service.seen["retryable"] > 2


async def test_service_goes_on_when_a_record_cannot_be_decoded(settings: ServiceSettings) -> None:
    """A header name that is not UTF-8; written by a process with aiokafka's Python encoder, the C one refuses it."""
    async with Service(settings) as service:
        await service.messaging.start()
        program = (
            "import asyncio, json, sys\n"
            "from imaging_common.settings import ServiceSettings\n"
            "from imaging_common.testing.kafka import send_raw\n"
            "class Name(str):\n"
            "    def encode(self, *_): return b'\\xff\\xfe'\n"
            "settings = ServiceSettings(**json.loads(sys.stdin.read()))\n"
            "asyncio.run(send_raw(settings, sys.argv[1], [(b'k', b'{}', [(Name('x'), b'')])] * 3))\n"
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, service.topic),
            env={**os.environ, "AIOKAFKA_NO_EXTENSIONS": "1"},
            stdin=asyncio.subprocess.PIPE,
        )
        connection = {
            "kafka_bootstrap": settings.kafka_bootstrap,
            "kafka_username": settings.kafka_username,
            "kafka_password": settings.kafka_password.get_secret_value(),
        }
        await asyncio.wait_for(process.communicate(json.dumps(connection).encode()), 60)
        assert process.returncode == 0
        await send_raw(settings, service.topic, [good("good")])
        await until(lambda: service.seen["good"] == 1, 20, "the next message is handled")
        letters = await read_all(settings, service.dead)
        assert [dict(letter.headers)["dlq_reason"] for letter in letters] == [b"unreadable"] * 3
        assert [dict(letter.headers)["dlq_offset"] for letter in letters] == [b"0", b"1", b"2"]


async def test_message_is_handled_when_it_is_compressed(settings: ServiceSettings) -> None:
    """A producer chooses its codec: one that a reader lacks would stop the reader."""
    async with Service(settings) as service:
        await service.messaging.start()
        for codec in ("gzip", "snappy", "lz4", "zstd"):
            await send_raw(settings, service.topic, [good(codec)], codec)
        await until(lambda: service.seen == Counter(gzip=1, snappy=1, lz4=1, zstd=1), 20, "all codecs read")


async def test_replay_sends_back_once_when_the_handler_was_mended(settings: ServiceSettings) -> None:
    async with Service(settings) as service:
        await send_raw(settings, service.topic, [good("crash"), good("rejected"), good("good")])
        await service.messaging.start()

        async def dead() -> bool:
            return await committed(settings, service.name, service.topic) == 3

        await until(dead, 30, "three committed")
        service.broken = False
        service.seen.clear()
        assert await replay(settings, service.dead, limit=1) == 1
        assert await replay(settings, service.dead) == 1
        assert await replay(settings, service.dead) == 0
        await until(lambda: service.seen == Counter({"crash": 1, "rejected": 1}), 20, "both handled again")
        returned = (await read_all(settings, service.topic))[3:]
        assert not [name for record in returned for name, _ in record.headers if name.startswith("dlq_")]


async def test_topic_is_not_emptied_into_the_dead_letter_when_a_deploy_is_bad(settings: ServiceSettings) -> None:
    async with Service(settings, limit=DeadLetterLimit(burst=3, refill_seconds=3600)) as service:
        await create_topics(settings, f"{service.topic}-b", dead_letter_topic(f"{service.topic}-b", service.name))
        await send_raw(settings, service.topic, [good("rejected")] * 20)
        await service.messaging.start()

        async def not_ready() -> bool:
            try:
                await service.messaging.check()
            except NotReady as error:
                return service.topic in str(error) and service.seen["rejected"] >= 4
            return False

        await until(not_ready, 30, "not ready")
        await send_raw(settings, f"{service.topic}-b", [good("neighbour")])
        await until(lambda: service.seen["neighbour"] == 1, 20, "the neighbouring topic goes on")
        assert len(await read_all(settings, service.dead)) == 3
        assert await committed(settings, service.name, service.topic) == 3
        assert service.seen["rejected"] == 4


async def test_other_partitions_go_on_when_a_message_waits_for_its_dependency(settings: ServiceSettings) -> None:
    patient = RetryPolicy(away_seconds=3600, first_delay=0.3, factor=1.0, patience=0.0)
    async with Service(settings, policy=patient) as service:
        neighbour = service.topic.replace("community", "secondary")
        await create_topics(settings, neighbour, dead_letter_topic(neighbour, service.name))
        await send_raw(settings, service.topic, [good("retryable"), good("behind")])
        await service.messaging.start()
        await until(lambda: service.seen["retryable"] == 1, 20, "tried")
        await send_raw(settings, neighbour, [good("neighbour")] * 5)
        await until(lambda: service.seen["neighbour"] == 5, 20, "the neighbour goes on")
        await until(lambda: service.seen["retryable"] >= 3, 20, "tried again and again")
        assert service.seen["behind"] == 0
        service.broken = False
        await until(lambda: service.seen["behind"] == 1, 20, "handled once the dependency is back")
        assert await read_all(settings, service.dead) == []


async def test_message_is_delivered_again_when_service_stops_in_its_handler(settings: ServiceSettings) -> None:
    async with Service(settings) as service:
        await send_raw(settings, service.topic, [good("good")])
        entered = asyncio.Event()

        async def hang(event: StudyOpened, envelope: Envelope) -> None:
            entered.set()
            await asyncio.Event().wait()

        router = EventRouter()
        router.on(StudyOpened, service.topic)(hang)
        first = Messaging(service.name, settings, policy=QUICK, grace_seconds=0.2)
        first.include(router)
        await first.start()
        await asyncio.wait_for(entered.wait(), 20)
        await first.stop()
        assert await committed(settings, service.name, service.topic) is None
        await service.messaging.start()
        await until(lambda: service.seen["good"] == 1, 20, "delivered again")
        assert await read_all(settings, service.dead) == []


async def test_service_needs_no_more_than_its_access_list(servers: Any, settings: ServiceSettings) -> None:
    """Reads, dead-letters and commits with the rights that `schemas/topics/*.yaml` give, and no other topic is open."""

    def connection(principal: str) -> ServiceSettings:
        password = SecretStr(servers.kafka.passwords[principal])
        return settings.model_copy(update={"kafka_username": principal, "kafka_password": password})

    router = EventRouter()
    seen: list[str] = []

    @router.on(StudyOpened, "study-used")
    async def reject(event: StudyOpened, envelope: Envelope) -> None:
        seen.append(event.holder)
        raise RejectedError("refused for good")

    reader = Messaging("object-writer", connection("object-writer"), policy=QUICK)
    reader.include(router)
    await reader.start()
    gateway = Messaging("gateway", connection("gateway"))
    await gateway.start()
    holder = f"h{uuid4().hex[:8]}"
    await gateway.publisher.publish("study-used", opened(holder), "1.2.3")
    await until(lambda: holder in seen, 20, "read")

    async def dead() -> bool:
        letters = await read_all(settings, "study-used-dlq-object-writer")
        return any(holder.encode() in (letter.value or b"") for letter in letters)

    await until(dead, 20, "dead letter written")
    with pytest.raises(PublishFailed, match="TopicAuthorizationFailedError"):
        await gateway.publisher.publish("study-changed", opened(holder), "1.2.3")
    await reader.check()
    await reader.stop()
    await gateway.stop()


async def test_every_copy_sees_events_when_tailing(settings: ServiceSettings) -> None:
    async with Service(settings) as service:
        await send_raw(settings, service.topic, [good("before")])
        copies: list[list[str]] = [[], []]
        tails = []
        for copy in copies:

            async def see(event: Event, envelope: Envelope, copy: list[str] = copy) -> None:
                assert isinstance(event, StudyOpened)
                copy.append(event.holder)

            messaging = Messaging(service.name, settings)
            messaging.tail([service.topic.replace("community", "<hospital>")], see)
            await messaging.start()
            tails.append(messaging)
        await tails[0].publisher.publish(service.topic, opened("after"), "1.2.3")
        await send_raw(settings, service.topic, [poison()["bad-json"][0], good("last")])
        await until(lambda: all(copy == ["after", "last"] for copy in copies), 20, "both copies saw both")
        for messaging in tails:
            await messaging.check()
            await messaging.stop()
