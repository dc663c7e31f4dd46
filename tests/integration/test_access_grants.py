"""Grants, launch codes and windows on a real MongoDB: races have one winner, and what has ended opens nothing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from gateway.adapters.access_grants import MongoAccessGrants
from gateway.adapters.sessions import MongoSessions
from gateway.errors import LaunchRefused
from gateway.grants.model import AccessGrant, Ehr
from gateway.usecases.open_window import LaunchAsked, Window, Windows
from gateway.usecases.share_studies import Shares
from imaging_common.access import StudyRef, Subject
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims
from imaging_common.index.fake import FakeIndexReader
from imaging_common.messaging import FakePublisher
from imaging_common.messaging.outbox import Outbox
from imaging_native.region import Region

EHR = Ehr(client_id="ehr-residents", origins=["https://ehr.test"])
CLAIMS = Claims("ehr-residents", "", frozenset({"ehr"}))
ASKED = LaunchAsked(user="dr.zhao", resident="R-1", purpose="TREAT")
DOCTOR = Subject("doctor.community", "community", frozenset({"doctor"}))


class Door:
    """Everything about windows over one database; what is looked at lies in memory."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self.database = database
        self.grants = MongoAccessGrants(database, Outbox(database))
        self.sessions = MongoSessions(database, "s" * 32)
        self.publisher = FakePublisher()
        audit, index = AuditTrail("gateway", self.publisher), FakeIndexReader().index()
        self.windows = Windows(self.grants, self.sessions, index, audit, [EHR])
        self.shares = Shares(self.grants, self.sessions, index, self.windows, audit)

    async def exchange(self, code: str) -> Window | int:
        """A browser's exchange: the window, or the refusal's status."""
        try:
            return await self.windows.exchange(code, origin=EHR.origins[0], own="https://portal.test", present=())
        except LaunchRefused as refused:
            return refused.status

    async def announced(self) -> list[str]:
        """The types of the events in the outbox."""
        return [document["type"] async for document in self.database["events"].find().sort("n")]

    async def share(self, **more: Any) -> AccessGrant:
        """A link on one study."""
        now = datetime.now(UTC)
        fields = {
            "grant_id": uuid4().hex, "kind": "share-link", "granted_by": DOCTOR.user, "at": now,
            "until": now + timedelta(days=1), "studies": [StudyRef("1.2.3", "community")], "token": uuid4().hex,
        }  # fmt: skip
        grant = AccessGrant.model_validate(fields | more)
        assert await self.grants.open(grant)
        return grant


@pytest.fixture
async def door(servers: Region) -> AsyncIterator[Door]:
    """A database of its own, dropped afterwards."""
    client = servers.client("root")
    name = f"gateway_{uuid4().hex[:8]}"
    door = Door(client[name])
    await door.grants.prepare()
    await door.sessions.prepare()
    yield door
    await client.drop_database(name)


async def test_of_fifty_parallel_exchanges_exactly_one_wins(door: Door) -> None:
    code = await door.windows.ask(CLAIMS, ASKED)
    answers = await asyncio.gather(*(door.exchange(code) for _ in range(50)))
    won = [answer for answer in answers if isinstance(answer, Window)]
    assert len(won) == 1
    assert [answer for answer in answers if not isinstance(answer, Window)] == [409] * 49
    assert await door.announced() == ["AccessGranted"]
    assert await door.database["sessions"].count_documents({"kind": "launch"}) == 1
    assert await door.exchange(code) == 409
    (held,) = await door.grants.held("dr.zhao", [], datetime.now(UTC))
    assert (held.grant_id, held.resident_id) == (won[0].grant.grant_id, "R-1")


async def test_code_opens_nothing_after_its_minute(door: Door) -> None:
    code = await door.windows.ask(CLAIMS, ASKED)
    late = {"$set": {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}}
    await door.database["launch_codes"].update_many({}, late)
    assert await door.exchange(code) == 410
    assert await door.exchange("never given") == 410
    assert await door.announced() == []


async def test_grant_is_gone_at_its_end_and_when_taken_back(door: Door) -> None:
    grant = await door.share()
    assert not await door.grants.open(grant)
    now = datetime.now(UTC)
    assert len(await door.grants.held("", [grant.grant_id], now)) == 1
    assert await door.grants.held("", [grant.grant_id], grant.until) == []
    assert await door.grants.end(grant.grant_id, "share-link", "somebody else", now) is None
    ended = await asyncio.gather(
        *(door.grants.end(grant.grant_id, "share-link", DOCTOR.user, now) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(one, AccessGrant) for one in ended) == 1
    assert await door.grants.held("", [grant.grant_id], now) == []
    assert await door.announced() == ["AccessGranted", "AccessEnded"]


async def test_link_is_opened_as_often_as_it_allows_however_many_come(door: Door) -> None:
    grant = await door.share(max_opens=5)
    opened = await asyncio.gather(*(door.grants.count_open(grant.token, datetime.now(UTC)) for _ in range(20)))
    assert sum(one is not None for one in opened) == 5
    kept = await door.grants.of_token(grant.token)
    assert kept is not None
    assert (kept.opens, kept.state(datetime.now(UTC))) == (5, "used-up")
    assert [one.grant_id for one in await door.grants.made("share-link", DOCTOR.user, 10)] == [grant.grant_id]


async def test_revoking_a_link_ends_its_windows(door: Door) -> None:
    grant = await door.share()
    cookie = await door.windows.session(grant, "share", Claims("share-1", "", frozenset({"share-link"})))
    keys = [document["_id"] async for document in door.database["sessions"].find()]
    session = await door.sessions.find(keys[0])
    assert session is not None
    assert (session.kind, session.grant_id, session.purpose) == ("share", grant.grant_id, grant.purpose)
    assert cookie not in keys
    assert await door.shares.revoke(DOCTOR, grant.grant_id)
    assert await door.sessions.find(keys[0]) is None


async def test_request_is_kept_for_one_browser_once(door: Door) -> None:
    until = datetime.now(UTC) + timedelta(minutes=1)
    await door.grants.keep_request("iid:b", {"requestType": "PATIENT", "patientID": "R-1"}, until)
    assert await door.grants.take_request("iid:other", datetime.now(UTC)) is None
    taken = await asyncio.gather(*(door.grants.take_request("iid:b", datetime.now(UTC)) for _ in range(5)))
    assert [one["patientID"] for one in taken if one is not None] == ["R-1"]
