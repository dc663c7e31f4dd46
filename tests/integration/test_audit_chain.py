"""The audit chain on the fake and on a real MongoDB: once each, several copies at once, and no tampering unseen."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from minio import Minio

from audit.adapters.fake_records import FakeRecordStore
from audit.adapters.fake_vault import FakeVault
from audit.adapters.mongo_records import MongoRecordStore
from audit.model import Head, Position, RecordQuery, make_link
from audit.ports import RecordStore
from audit.usecases import append_record, verify_chains
from imaging_common import mongo
from imaging_common.events import AuditRecorded
from imaging_common.settings import ServiceSettings

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
KINDS = pytest.mark.parametrize("kind", ["fake", "mongo"])


async def append(store: RecordStore, event: AuditRecorded) -> bool:
    """As if each service's records came by a partition of their own."""
    return await append_record(store, event, event.service)


@pytest.fixture
async def client(servers: Any) -> AsyncIterator[Any]:
    client = mongo.connect(ServiceSettings(mongo_url=servers.mongodb.url("root")))
    yield client
    await client.close()


@pytest.fixture
async def database(client: Any) -> AsyncIterator[Any]:
    database = client[f"audit-{uuid4().hex[:8]}"]
    yield database
    await client.drop_database(database)


@pytest.fixture
async def copies(kind: str, client: Any, database: Any) -> list[RecordStore]:
    """Several copies of the service over one database."""
    if kind == "fake":
        fake = FakeRecordStore()
        return [fake, fake, fake]
    stores = [MongoRecordStore(client, database.name) for _ in range(3)]
    await stores[0].prepare()
    return list(stores)


@pytest.fixture
def store(copies: list[RecordStore]) -> RecordStore:
    return copies[0]


def looked(number: int, service: str = "gateway", **more: Any) -> AuditRecorded:
    fields: dict[str, Any] = {
        "audit_id": f"{service}-{number}",
        "service": service,
        "action": "view",
        "outcome": "success",
        "user": "doctor.community",
        "study_uid": "1.2.3",
        "at": NOW + timedelta(microseconds=number * 1_000_500),
    }
    return AuditRecorded.model_validate(fields | more)


async def fill(store: RecordStore, count: int = 6) -> None:
    for number in range(count):
        for service in ("gateway", "consult"):
            assert await append(store, looked(number, service))


@KINDS
async def test_chain_holds_the_records_in_order(store: RecordStore) -> None:
    await fill(store)
    links = [link async for link in store.chain("gateway")]
    assert [link["seq"] for link in links] == [1, 2, 3, 4, 5, 6]
    assert [link["record"] for link in links] == [looked(n).model_dump(mode="json") for n in range(6)]
    assert [link["prev_hash"] for link in links[1:]] == [link["hash"] for link in links[:-1]]
    outcomes = await verify_chains(store, FakeVault())
    assert (outcomes.count, outcomes.breaks) == (12, [])
    assert outcomes.heads == await store.heads()
    assert outcomes.heads["gateway"] == Head(6, links[-1]["hash"])


@KINDS
async def test_every_record_is_in_the_chain_once_when_copies_append_at_once(copies: list[RecordStore]) -> None:
    events = [looked(number, service) for number in range(12) for service in ("gateway", "consult")]
    twice = [(copies[turn % 3], event) for turn, event in enumerate([*events, *events])]
    outcomes = await asyncio.gather(*(append(copy, event) for copy, event in twice))
    assert sum(outcomes) == len(events)
    found = await verify_chains(copies[0], FakeVault())
    assert found.breaks == []
    assert {stream: head.seq for stream, head in found.heads.items()} == {"gateway": 12, "consult": 12}
    for service in ("gateway", "consult"):
        kept = [link["audit_id"] async for link in copies[0].chain(service)]
        assert sorted(kept) == sorted(f"{service}-{number}" for number in range(12))


@KINDS
async def test_chain_can_be_walked_while_it_grows(copies: list[RecordStore]) -> None:
    await fill(copies[0], 2)
    growing = asyncio.gather(*(append(copies[1], looked(number)) for number in range(10, 30)))
    walks = 0
    while not growing.done() or not walks:
        assert (await verify_chains(copies[2], FakeVault())).breaks == []
        walks += 1
        await asyncio.sleep(0)
    await growing
    assert (await verify_chains(copies[2], FakeVault())).count == 24


@KINDS
async def test_records_are_found_and_paged(store: RecordStore) -> None:
    await fill(store)
    await append(store, looked(9, user="expert.secondary", study_uid="1.2.4", outcome="denied", action="search"))

    async def found(*, limit: int = 20, offset: int = 0, **query: Any) -> list[str]:
        return [link["audit_id"] for link in await store.search(RecordQuery(**query), limit, offset)]

    assert await found(user="expert.secondary") == ["gateway-9"]
    assert await found(study_uid="1.2.4", outcome="denied", action="search") == ["gateway-9"]
    assert await found(study_uid="1.2.4", action="view") == []
    window: dict[str, Any] = {"since": NOW + timedelta(seconds=2), "until": NOW + timedelta(seconds=4)}
    assert await found(**window) == ["gateway-3", "consult-3", "gateway-2", "consult-2"]
    everything = await found()
    assert len(everything) == 13
    assert await found(limit=3, offset=5) == everything[5:8]
    paged: list[str] = []
    after: Position | None = None
    while page := await store.search(RecordQuery(after=after), 4, 0):
        paged += [link["audit_id"] for link in page]
        after = Position.of(page[-1])
        await append(store, looked(100 + len(paged)))
    assert paged == everything


async def add_link(database: Any) -> None:
    noted = await database["heads"].find_one({"_id": "gateway"})
    link = make_link("gateway", Head(noted["seq"], noted["hash"]), looked(99).model_dump(mode="json"))
    await database["records"].insert_one({"_id": link.pop("audit_id"), **link})


async def move_link(database: Any) -> None:
    await database["records"].delete_one({"_id": "consult-2"})
    await database["records"].update_one({"_id": "gateway-2"}, {"$set": {"stream": "consult"}})


THIRD = {"_id": "gateway-2"}
TAMPERINGS: dict[str, tuple[Callable[[Any], Awaitable[Any]], str]] = {
    "user changed": (
        lambda db: db["records"].update_one(THIRD, {"$set": {"record.user": "somebody.else"}}),
        "BROKEN gateway record 3: its content was changed",
    ),
    "denial made a success": (
        lambda db: db["records"].update_one(THIRD, {"$set": {"record.outcome": "failed"}}),
        "BROKEN gateway record 3: its content was changed",
    ),
    "field added": (
        lambda db: db["records"].update_one(THIRD, {"$currentDate": {"record.seen": True}}),
        "BROKEN gateway record 3: its content was changed",
    ),
    "hidden from searches by time": (
        lambda db: db["records"].update_one(THIRD, {"$set": {"at": datetime(1970, 1, 1, tzinfo=UTC)}}),
        "BROKEN gateway record 3: its id or time was changed",
    ),
    "record removed": (lambda db: db["records"].delete_one(THIRD), "BROKEN gateway record 3: record 3 is missing"),
    "last record removed": (
        lambda db: db["records"].delete_one({"_id": "gateway-5"}),
        "BROKEN gateway record 6: the end of the chain is missing",
    ),
    "whole chain removed": (
        lambda db: db["records"].delete_many({"stream": "gateway"}),
        "BROKEN gateway record 1: the end of the chain is missing",
    ),
    "head removed": (
        lambda db: db["heads"].delete_one({"_id": "gateway"}),
        "BROKEN gateway record 1: it was added without the service",
    ),
    "record added": (add_link, "BROKEN gateway record 7: it was added without the service"),
    "moved to another chain": (move_link, "BROKEN consult record 3: it does not follow the record before"),
}


async def run_verify(servers: Any, database: str) -> tuple[int | None, list[str]]:
    access, secret = servers.minio.credentials["root-user"]
    bucket = f"anchors-of-{database}"
    client = Minio(endpoint=servers.minio.endpoint, access_key=access, secret_key=secret, secure=False)
    if not client.bucket_exists(bucket_name=bucket):
        client.make_bucket(bucket_name=bucket, object_lock=True)
    more = {
        "AUDIT_MONGO_URL": servers.mongodb.url("root"),
        "AUDIT_DATABASE": database,
        "AUDIT_MINIO_ENDPOINT": servers.minio.endpoint,
        "AUDIT_MINIO_ACCESS_KEY": access,
        "AUDIT_MINIO_SECRET_KEY": secret,
        "AUDIT_ANCHOR_BUCKET": bucket,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "audit.verify",
        env={**os.environ, **more},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode().splitlines()


@pytest.mark.parametrize("kind", ["mongo"])
async def test_verify_prints_the_heads_and_exits_0_when_nobody_touched_the_chains(
    store: RecordStore, servers: Any, database: Any
) -> None:
    await fill(store)
    code, lines = await run_verify(servers, database.name)
    heads = await store.heads()
    assert lines == [
        f"consult holds to record 6 {heads['consult'].hash}",
        f"gateway holds to record 6 {heads['gateway'].hash}",
        "12 records hold, 0 chains are broken; compared with 0 anchors",
    ]
    assert code == 0


@pytest.mark.parametrize("kind", ["mongo"])
async def test_verify_exits_1_when_a_document_was_changed(store: RecordStore, servers: Any, database: Any) -> None:
    await fill(store)
    await TAMPERINGS["user changed"][0](database)
    code, lines = await run_verify(servers, database.name)
    assert code == 1
    assert TAMPERINGS["user changed"][1] in lines
    assert lines[-1] == "8 records hold, 1 chains are broken; compared with 0 anchors"


@pytest.mark.parametrize("kind", ["mongo"])
@pytest.mark.parametrize("tampering", TAMPERINGS)
async def test_tampering_with_the_database_is_found(store: RecordStore, database: Any, tampering: str) -> None:
    await fill(store)
    tamper, line = TAMPERINGS[tampering]
    await tamper(database)
    found = await verify_chains(store, FakeVault())
    assert line in [f"BROKEN {broken.stream} record {broken.seq}: {broken.reason}" for broken in found.breaks]


@KINDS
async def test_summary_names_each_person_once_with_counts_times_and_rights(store: RecordStore) -> None:
    acts = [
        ("doctor.tcm", "tcm", "gateway", "view", "success", "own-hospital"),
        ("doctor.tcm", "tcm", "gateway", "view", "success", "break-glass"),
        ("doctor.tcm", "tcm", "gateway", "search", "success", "patient"),
        ("expert.secondary", "secondary", "gateway", "view", "denied", "no-grant"),
        ("edge-tcm", "tcm", "dicom-ingest", "retrieve", "success", ""),
        ("auditor.region", "", "audit", "search", "success", ""),
    ]
    for minute, (user, hospital, service, action, outcome, reason) in enumerate(acts):
        at = NOW + timedelta(minutes=minute)
        act = {"user": user, "hospital": hospital, "action": action, "outcome": outcome, "reason": reason, "at": at}
        about = {"resident_id": "R-1"} if minute % 2 else {"study_uid": "1.2.3"}
        await append(
            store, AuditRecorded.model_validate({"audit_id": f"s{minute}", "service": service, **act, **about})
        )
    people, more = await store.summary(RecordQuery(residents=("R-1",), studies=("1.2.3",)))
    assert not more
    assert [(one.hospital, one.user, one.looks, one.searches, one.denied) for one in people] == [
        ("secondary", "expert.secondary", 0, 0, 1),
        ("tcm", "doctor.tcm", 2, 1, 0),
    ]
    assert people[1].rights == ("break-glass", "own-hospital")
    assert (people[1].first, people[1].last) == (NOW, NOW + timedelta(minutes=2))
    assert (await store.summary(RecordQuery(residents=("R-2",))))[0] == []
