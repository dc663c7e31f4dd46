"""Copies of two releases on the same Kafka and MongoDB: what only one of them knows hurts neither."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from pymongo.errors import DuplicateKeyError

from imaging_common import mongo
from imaging_common.events import EVENT_TYPES, Envelope, Event, StudyReleased
from imaging_common.messaging import EventRouter, Messaging
from imaging_common.messaging.cloudevents import to_record
from imaging_common.messaging.replay import replay
from imaging_common.messaging.topics import dead_letter_topic
from imaging_common.mongo import ensure_index
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import committed, create_topics, read_all, send_raw
from imaging_common.testing.waiting import until


@pytest.fixture
def settings(servers: Any) -> ServiceSettings:
    return ServiceSettings(
        kafka_bootstrap=servers.kafka.bootstrap,
        kafka_username="admin",
        kafka_password=SecretStr(servers.kafka.passwords["admin"]),
        mongo_url=servers.mongodb.url("root"),
    )


@pytest.fixture
async def collection(settings: ServiceSettings) -> AsyncIterator[Any]:
    client = mongo.connect(settings)
    name = f"upgrade-{uuid4().hex[:8]}"
    yield client[name]["documents"]
    await client.drop_database(name)
    await client.close()


class RoomBooked(Event):
    """An event type that the next release brings."""

    room: str


async def test_old_copy_sets_the_next_releases_events_aside_and_they_are_handled_after_the_upgrade(
    settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix = uuid4().hex[:8]
    name, topic = f"svc-{suffix}", f"upgrade{suffix}-things"
    dead = dead_letter_topic(topic, name)
    await create_topics(settings, topic, dead)
    seen: list[str] = []

    async def released(event: StudyReleased, _: Envelope) -> None:
        seen.append(event.case_id)

    async def booked(event: RoomBooked, _: Envelope) -> None:
        seen.append(event.room)

    known = StudyReleased(study_uid="1.2.3", holder="community", case_id="known")
    new = [to_record(event, "next-release", None, None) for event in (RoomBooked(room="new"), known)]
    await send_raw(settings, topic, [(b"1.2.3", *record) for record in new])

    old_router = EventRouter()
    old_router.on(StudyReleased, topic)(released)
    old = Messaging(name, settings)
    old.include(old_router)
    await old.start()

    async def both_settled() -> bool:
        return await committed(settings, name, topic) == 2

    await until(both_settled, 60, "the partition went on")
    await old.check()
    await old.stop()
    assert seen == ["known"]
    (letter,) = await read_all(settings, dead)
    assert dict(letter.headers)["dlq_reason"] == b"unknown-type"

    monkeypatch.setitem(EVENT_TYPES, "RoomBooked", RoomBooked)
    new_router = EventRouter()
    new_router.on(StudyReleased, topic)(released)
    new_router.on(RoomBooked, topic)(booked)
    upgraded = Messaging(name, settings)
    upgraded.include(new_router)
    await upgraded.start()
    try:
        assert await replay(settings, dead, limit=None) == 1
        await until(lambda: seen == ["known", "new"], 60, "the new event was handled")
    finally:
        await upgraded.stop()


async def test_index_is_made_any_number_of_times_by_several_copies(collection: Any) -> None:
    made = [ensure_index(collection, [("hospital", 1), ("at", -1)], unique=True) for _ in range(4)]
    await asyncio.gather(*made)
    assert set(await collection.index_information()) == {"_id_", "hospital_1_at_-1"}


async def test_index_with_other_options_is_replaced_and_the_rollback_puts_it_back(collection: Any) -> None:
    for seconds in (3600, 7200, 3600):
        await asyncio.gather(*(ensure_index(collection, "at", expireAfterSeconds=seconds) for _ in range(2)))
        assert (await collection.index_information())["at_1"]["expireAfterSeconds"] == seconds


async def test_index_may_become_unique(collection: Any) -> None:
    await ensure_index(collection, "token")
    await ensure_index(collection, "token", unique=True)
    await collection.insert_one({"token": "t"})
    with pytest.raises(DuplicateKeyError):
        await collection.insert_one({"token": "t"})
    assert set(await collection.index_information()) == {"_id_", "token_1"}
