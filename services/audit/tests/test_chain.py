"""The audit chain: once each, in order, and no tampering goes unseen."""

from datetime import UTC, datetime

import pytest

from audit.adapters.fake_records import FakeRecordStore
from audit.usecases import append_record, verify_chains
from imaging_common.events import AuditRecorded


def looked(number: int, service: str = "gateway") -> AuditRecorded:
    return AuditRecorded(
        audit_id=f"{service}-{number}",
        service=service,
        action="view",
        outcome="success",
        user="doctor.community",
        study_uid="1.2.3",
        at=datetime(2026, 11, 24, tzinfo=UTC),
    )


@pytest.fixture
async def store() -> FakeRecordStore:
    store = FakeRecordStore()
    for number in range(5):
        await append_record(store, looked(number))
        await append_record(store, looked(number, "consult"))
    return store


async def test_chains_hold_when_nobody_touched_them(store: FakeRecordStore) -> None:
    assert await verify_chains(store) == (10, [])


async def test_record_counts_once_when_it_is_delivered_twice(store: FakeRecordStore) -> None:
    assert not await append_record(store, looked(3))
    assert len(store.links) == 10


async def test_changed_record_is_found(store: FakeRecordStore) -> None:
    store.links[4]["record"]["user"] = "somebody.else"
    _, (broken,) = await verify_chains(store)
    assert (broken.stream, broken.seq, broken.reason) == ("gateway", 3, "its content was changed")


async def test_removed_record_is_found(store: FakeRecordStore) -> None:
    del store.links[4]
    _, (broken,) = await verify_chains(store)
    assert broken.reason == "record 3 is missing"


async def test_swapped_records_are_found(store: FakeRecordStore) -> None:
    store.links[2]["record"], store.links[4]["record"] = store.links[4]["record"], store.links[2]["record"]
    _, breaks = await verify_chains(store)
    assert [broken.stream for broken in breaks] == ["gateway"]
