"""The outbox on a real MongoDB and Kafka: state and event both or neither, and a relay that is killed loses nothing."""

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from pymongo.asynchronous.client_session import AsyncClientSession

from imaging_common import mongo
from imaging_common.errors import PublishFailed
from imaging_common.events import StudyReleased
from imaging_common.messaging import FakePublisher, KafkaPublisher
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.messaging.outbox_publisher import OutboxPublisher
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import create_topics, read_all
from imaging_common.testing.waiting import until

KEYS = 6
EVENTS_PER_KEY = 60


@pytest.fixture
def settings(servers: Any) -> ServiceSettings:
    return ServiceSettings(
        kafka_bootstrap=servers.kafka.bootstrap,
        kafka_username="admin",
        kafka_password=SecretStr(servers.kafka.passwords["admin"]),
        mongo_url=servers.mongodb.url("root"),
    )


@pytest.fixture
async def database(settings: ServiceSettings) -> AsyncIterator[Any]:
    client = mongo.connect(settings)
    database = client[f"outbox-{uuid4().hex[:8]}"]
    yield database
    await client.drop_database(database)
    await client.close()


def released(number: int) -> StudyReleased:
    return StudyReleased(study_uid="1.2.3", holder="community", case_id=str(number))


async def change_state(database: Any, outbox: Outbox, topic: str, key: str, *, fail: bool = False) -> None:
    """What a use case does: the next state of an aggregate and its event, in one transaction."""

    async def both(session: AsyncClientSession) -> None:
        state = await database["state"].find_one_and_update(
            {"_id": key}, {"$inc": {"n": 1}}, upsert=True, return_document=True, session=session
        )
        await outbox.add(topic, released(state["n"]), key, session=session)
        if fail:
            raise ValueError("changed my mind")

    async with database.client.start_session() as session:
        await session.with_transaction(both)
    outbox.notify()


async def start_relay(settings: ServiceSettings, database: str) -> asyncio.subprocess.Process:
    environment = {
        "RELAY_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "RELAY_KAFKA_USERNAME": settings.kafka_username,
        "RELAY_KAFKA_PASSWORD": settings.kafka_password.get_secret_value(),
        "RELAY_MONGO_URL": settings.mongo_url,
    }
    command = (sys.executable, "-m", "imaging_common.testing.relay_process", database)
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"relaying\n"
    return process


async def test_every_event_arrives_in_order_when_the_relay_is_killed_in_mid_relay(
    settings: ServiceSettings, database: Any
) -> None:
    topic = f"outbox-{uuid4().hex[:8]}"
    await create_topics(settings, topic)
    outbox = Outbox(database)

    async def aggregate(key: str) -> None:
        for _ in range(EVENTS_PER_KEY):
            await change_state(database, outbox, topic, key)
        with pytest.raises(ValueError, match="changed my mind"):
            await change_state(database, outbox, topic, key, fail=True)

    writing = asyncio.gather(*(aggregate(f"k{n}") for n in range(KEYS)))
    kills = 0
    for share in (4, 2):
        relay = await start_relay(settings, database.name)

        async def some(share: int = share) -> bool:
            return len(await read_all(settings, topic)) >= KEYS * EVENTS_PER_KEY // share

        try:
            await until(some, 60, f"1/{share} relayed")
        finally:
            relay.kill()
            await relay.wait()
        kills += 1
    await writing
    relay = await start_relay(settings, database.name)
    try:

        async def empty() -> bool:
            return await outbox.pending() == 0

        await until(empty, 60, "outbox empty")
    finally:
        relay.kill()
        await relay.wait()

    seen: dict[str, list[str]] = defaultdict(list)
    ids: set[bytes] = set()
    for record in await read_all(settings, topic):
        event_id = dict(record.headers)["ce_id"]
        if event_id not in ids:
            ids.add(event_id)
            seen[record.key.decode()].append(StudyReleased.model_validate_json(record.value).case_id)
    expected = [str(n) for n in range(1, EVENTS_PER_KEY + 1)]
    assert kills == 2
    assert seen == {f"k{n}": expected for n in range(KEYS)}


async def test_nothing_is_written_when_the_transaction_is_aborted(database: Any) -> None:
    outbox = Outbox(database)
    with pytest.raises(ValueError, match="changed my mind"):
        await change_state(database, outbox, "a-topic", "k", fail=True)
    assert await outbox.pending() == 0
    assert await database["state"].count_documents({}) == 0


async def test_only_one_copy_relays_when_there_are_two(database: Any) -> None:
    publishers = FakePublisher(), FakePublisher()
    outboxes = Outbox(database), Outbox(database)
    relays = [OutboxRelay(o, p) for o, p in zip(outboxes, publishers, strict=True)]
    for relay in relays:
        await relay.start()
    for _ in range(20):
        await change_state(database, outboxes[0], "a-topic", "k")

    async def empty() -> bool:
        return await outboxes[0].pending() == 0

    await until(empty, 20, "outbox empty")
    assert sorted(len(p.published) for p in publishers) == [0, 20]
    active = 0 if publishers[0].published else 1
    await relays[active].stop()
    await change_state(database, outboxes[1 - active], "a-topic", "k")
    await until(empty, 20, "the other copy took over")
    assert len(publishers[1 - active].published) == 1
    await relays[1 - active].stop()


async def test_other_streams_go_on_when_one_topic_does_not_take_its_event(
    settings: ServiceSettings, database: Any
) -> None:
    topic = f"outbox-{uuid4().hex[:8]}"
    await create_topics(settings, topic)
    outbox = Outbox(database)
    publisher = KafkaPublisher("test", settings, deadline=1.0)
    relay = OutboxRelay(outbox, publisher)
    await change_state(database, outbox, "no-such-topic", "k")
    await change_state(database, outbox, topic, "k")
    await relay.start()

    async def arrived() -> bool:
        return len(await read_all(settings, topic)) == 1

    await until(arrived, 20, "the other stream arrived")
    await relay.stop()
    await publisher.stop()
    assert await outbox.pending() == 1


async def test_looks_are_one_insert_each_and_arrive_together_once(settings: ServiceSettings, database: Any) -> None:
    topic = f"outbox-{uuid4().hex[:8]}"
    await create_topics(settings, topic)
    copies = Outbox(database), Outbox(database)
    publisher = KafkaPublisher("test", settings)
    relay = OutboxRelay(copies[0], publisher)
    await relay.start()
    numbers = range(150)
    for n in numbers:
        await OutboxPublisher(copies[n % 2]).publish(topic, released(n), "gateway")
    assert await database["events.streams"].count_documents({"_id": {"$ne": "lease"}}) == 0

    async def arrived() -> bool:
        return len(await read_all(settings, topic)) == len(numbers) and await copies[0].pending() == 0

    await until(arrived, 30, "all looks arrived")
    await relay.stop()
    await publisher.stop()
    records = await read_all(settings, topic)
    assert sorted(int(StudyReleased.model_validate_json(r.value).case_id) for r in records) == list(numbers)


async def test_looks_that_were_not_taken_are_kept_and_tried_again(database: Any) -> None:
    outbox, publisher = Outbox(database), FakePublisher()
    publisher.fail_with = PublishFailed("away")
    relay = OutboxRelay(outbox, publisher)
    for n in range(3):
        await OutboxPublisher(outbox).publish("a-topic", released(n), "gateway")
    await relay.start()

    async def blocked() -> bool:
        return bool(relay._blocked)

    await until(blocked, 20, "the stream is left alone for a while")
    assert await outbox.pending() == 3
    publisher.fail_with = None

    async def empty() -> bool:
        return await outbox.pending() == 0

    await until(empty, 20, "outbox empty")
    await relay.stop()
    assert [event.case_id for event in publisher.events("a-topic") if isinstance(event, StudyReleased)] == [
        "0", "1", "2",
    ]  # fmt: skip


async def test_look_that_mongodb_does_not_take_is_an_error_of_its_publisher(database: Any) -> None:
    outbox = Outbox(database)
    await database.create_collection("events", validator={"nothing": {"$exists": True}})
    with pytest.raises(PublishFailed):
        await OutboxPublisher(outbox).publish("a-topic", released(1), "gateway")
