"""The gateway's stores on a real MongoDB: sessions, grants, notices, the hospital registry."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from gateway.adapters.notices import MongoNotices
from gateway.adapters.sessions import MongoSessions
from gateway.adapters.stores import MongoGrants, MongoHospitals
from gateway.cases import CaseGrant
from gateway.errors import RegistryConflict
from gateway.model import HospitalEntry, Session, Tokens
from imaging_common.access import StudyRef
from imaging_common.auth import Claims
from imaging_common.events import NoticeRaised, Version
from imaging_common.messaging.outbox import Outbox
from imaging_native.region import Region

DOCTOR = Claims("doctor.community", "community", frozenset({"doctor"}), "陈建国")
EXPERT = Claims("expert.secondary", "secondary", frozenset({"doctor", "expert"}), "周敏")
SECRET = "s" * 32


@pytest.fixture
async def database(servers: Region) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    """A database of its own, dropped afterwards."""
    client = servers.client("root")
    name = f"gateway_{uuid4().hex[:8]}"
    yield client[name]
    await client.drop_database(name)


async def test_session_comes_back_and_its_tokens_are_not_readable(database: AsyncDatabase[dict[str, Any]]) -> None:
    store = MongoSessions(database, SECRET)
    await store.prepare()
    session = Session("k1", DOCTOR, Tokens("access-token", "refresh-token", "id"), time.time() + 60, "csrf")
    await store.create("cookie", session, 3600)
    assert await store.find("k1") == session
    raw = await database["sessions"].find_one({"_id": "k1"})
    assert raw is not None
    assert b"access-token" not in raw["tokens"]
    assert await MongoSessions(database, "t" * 32).find("k1") is None
    await store.remember_search("k1", {"words": "张"})
    await store.renew("k1", EXPERT, Tokens("a2", "r2", "i2"), 5.0)
    renewed = await store.find("k1")
    assert renewed is not None
    assert (renewed.claims, renewed.tokens.refresh, renewed.search) == (EXPERT, "r2", {"words": "张"})
    await store.end("k1")
    assert await store.find("k1") is None


async def test_session_is_gone_when_its_time_is_over(database: AsyncDatabase[dict[str, Any]]) -> None:
    store = MongoSessions(database, SECRET)
    await store.create("c", Session("k2", DOCTOR, Tokens("a", "r", "i"), 0.0, "csrf"), lifetime_seconds=-1)
    assert await store.find("k2") is None


async def test_sign_in_is_finished_once_and_by_its_own_browser(database: AsyncDatabase[dict[str, Any]]) -> None:
    store = MongoSessions(database, SECRET)
    await store.begin_sign_in("state", browser="b", verifier="v", nonce="n", next_path="/portal")
    assert await store.finish_sign_in("state", browser="other") is None
    answers = await asyncio.gather(*(store.finish_sign_in("state", browser="b") for _ in range(5)))
    assert sum(answer is not None for answer in answers) == 1


def case(n: int, *, is_open: bool = True, epoch: int = 0) -> CaseGrant:
    return CaseGrant(
        consult_id="c1", version=Version(epoch=epoch, n=n), open=is_open, applicant=DOCTOR.user,
        applicant_hospital="community", consultant_hospital="secondary", studies=[StudyRef("1.2.3", "community")],
        ended_at=None if is_open else datetime.now(UTC),
    )  # fmt: skip


async def test_grant_follows_versions_whatever_the_order(database: AsyncDatabase[dict[str, Any]]) -> None:
    store = MongoGrants(database)
    await store.prepare()
    assert await store.put(case(2))
    assert not await store.put(case(1))
    assert not await store.put(case(2))
    assert [grant.studies for grant in await store.of_person(EXPERT)] == [[StudyRef("1.2.3", "community")]]
    assert len(await store.of_person(DOCTOR)) == 1
    assert await store.of_person(Claims("x", "secondary", frozenset({"doctor"}))) == []
    assert await store.put(case(3, is_open=False))
    assert not await store.put(case(2))
    assert await store.of_person(EXPERT) == []
    assert await store.put(case(1, epoch=1))
    assert len(await store.of_person(DOCTOR)) == 1


async def test_edge_agent_has_the_open_cases_of_its_hospital_that_allow_workstations(
    database: AsyncDatabase[dict[str, Any]],
) -> None:
    store = MongoGrants(database)
    await store.prepare()
    edges = [Claims(f"edge-{name}", name, frozenset({"edge-agent"})) for name in ("community", "secondary", "tertiary")]
    assert await store.put(case(2, epoch=2))
    assert [await store.of_person(edge) for edge in edges] == [[], [], []]
    assert await store.put(case(3, epoch=2).model_copy(update={"workstation": True}))
    assert [len(await store.of_person(edge)) for edge in edges] == [1, 1, 0]
    assert await store.put(case(4, is_open=False, epoch=2))
    assert [await store.of_person(edge) for edge in edges] == [[], [], []]


async def test_same_grant_from_two_copies_has_one_effect(database: AsyncDatabase[dict[str, Any]]) -> None:
    store = MongoGrants(database)
    outcomes = await asyncio.gather(*(store.put(case(1)) for _ in range(8)))
    assert sum(outcomes) == 1


async def test_notice_is_kept_once_and_seen_per_person(database: AsyncDatabase[dict[str, Any]]) -> None:
    store = MongoNotices(database, Outbox(database))
    await store.prepare()
    notice = NoticeRaised(
        notice_id="n1", recipient="hospital:secondary:expert", kind="consult-submitted", number="C-1",
        link="/portal/consults/c1", raised_at=datetime.now(UTC),
    )  # fmt: skip
    kept = await asyncio.gather(*(store.add(notice) for _ in range(6)))
    assert len(set(kept)) == 1
    names = ["user:expert.secondary", "hospital:secondary:expert"]
    assert await store.unseen(names, "expert.secondary") == 1
    assert await store.mark_seen(names, "expert.secondary", link="/portal/consults/other") == 0
    assert await store.unseen(names, "expert.secondary") == 1
    link = "/portal/consults/c1"
    marked = await asyncio.gather(*(store.mark_seen(names, "expert.secondary", link=link) for _ in range(4)))
    assert sum(marked) == 1
    assert await store.add(notice) == kept[0]
    told = await database["events"].find({"topic": "notice-seen"}).to_list()
    assert [(event["key"], event["type"]) for event in told] == [("n1", "NoticeSeen")]
    assert [one.notice.notice_id for one in await store.since(names, kept[0], 10)] == ["n1"]
    assert await store.since(names, kept[0] + timedelta(minutes=1), 10) == []
    assert await store.unseen(names, "expert.secondary") == 0
    assert await store.unseen(names, "another.expert") == 1
    (shown,) = await store.latest(names, "expert.secondary", 10)
    assert shown["seen"]


def entry(revision: int, name: str = "First") -> HospitalEntry:
    return HospitalEntry(
        hospital="secondary", revision=revision, name_zh="一院", name_en=name, level="secondary", tier="central"
    )


async def test_hospital_is_registered_and_announced_in_one_write(database: AsyncDatabase[dict[str, Any]]) -> None:
    registry = MongoHospitals(database, Outbox(database))
    await asyncio.gather(*(registry.register(entry(2)) for _ in range(3)))
    assert await registry.all() == [entry(2)]
    announced = await database["events"].find({"topic": "hospital-registered"}).to_list()
    assert {(event["key"], event["type"]) for event in announced} == {("secondary", "HospitalRegistered")}
    await registry.register(entry(1, "Old"))
    assert await registry.all() == [entry(2)]
    with pytest.raises(RegistryConflict):
        await registry.register(entry(2, "Renamed"))
    await registry.register(entry(3, "Renamed"))
    assert await registry.all() == [entry(3, "Renamed")]
