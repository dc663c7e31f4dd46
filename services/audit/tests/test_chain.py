"""The audit chain: once each, in order, and no tampering goes unseen."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.adapters.fake_records import FakeRecordStore
from audit.adapters.fake_vault import FakeVault
from audit.model import Head, Position, link_hash, make_link
from audit.ports import RecordStore
from audit.usecases import append_record, verify_chains
from audit.verify import report
from imaging_common.events import AuditRecorded


async def append(store: RecordStore, event: AuditRecorded) -> bool:
    """As if each service's records came by a partition of their own."""
    return await append_record(store, event, event.service)


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
        await append(store, looked(number))
        await append(store, looked(number, "consult"))
    return store


async def test_chains_hold_when_nobody_touched_them(store: FakeRecordStore) -> None:
    outcomes = await verify_chains(store, FakeVault())
    assert (outcomes.count, outcomes.breaks) == (10, [])
    assert outcomes.heads == store.noted
    assert report(outcomes)[-1] == "10 records hold, 0 chains are broken; compared with 0 anchors"


async def test_record_counts_once_when_it_is_delivered_twice(store: FakeRecordStore) -> None:
    assert not await append(store, looked(3))
    assert len(store.links) == 10


def rehash_all(store: FakeRecordStore) -> None:
    """What somebody with access to the database does who knows how the chain is made, but not about the heads."""
    at = Head()
    for link in (link for link in store.links if link["stream"] == "gateway"):
        link["prev_hash"] = at.hash
        link["hash"] = link_hash("gateway", link["seq"], at.hash, link["record"])
        at = Head(link["seq"], link["hash"])


def swap(store: FakeRecordStore) -> None:
    store.links[2]["record"], store.links[4]["record"] = store.links[4]["record"], store.links[2]["record"]


def add(store: FakeRecordStore) -> None:
    store.links.append(make_link("gateway", store.noted["gateway"], looked(9).model_dump(mode="json")))


def change_and_rehash(store: FakeRecordStore) -> None:
    store.links[4]["record"]["user"] = "somebody.else"
    rehash_all(store)


TAMPERINGS: dict[str, tuple[Callable[[FakeRecordStore], Any], int, str]] = {
    "changed": (lambda s: s.links[4]["record"].update(user="somebody.else"), 3, "its content was changed"),
    "changed for what is no JSON": (lambda s: s.links[4]["record"].update(user=object()), 3, "its content was changed"),
    "record taken out": (lambda s: s.links[4].pop("record"), 3, "its content was changed"),
    "hidden from searches": (
        lambda s: s.links[4].update(at=datetime(1970, 1, 1, tzinfo=UTC)),
        3,
        "its id or time was changed",
    ),
    "other id": (lambda s: s.links[4].update(audit_id="x"), 3, "its id or time was changed"),
    "removed": (lambda s: s.links.pop(4), 3, "record 3 is missing"),
    "end removed": (lambda s: s.links.pop(8), 5, "the end of the chain is missing"),
    "swapped": (swap, 2, "its content was changed"),
    "added": (add, 6, "it was added without the service"),
    "changed and hashed anew": (change_and_rehash, 5, "it is not the record that was written"),
    "head removed": (lambda s: s.noted.pop("gateway"), 1, "it was added without the service"),
    "all removed but the head": (lambda s: s.links.clear(), 1, "the end of the chain is missing"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
async def test_tampering_is_found(store: FakeRecordStore, tampering: str) -> None:
    tamper, seq, reason = TAMPERINGS[tampering]
    tamper(store)
    outcomes = await verify_chains(store, FakeVault())
    broken = next(broken for broken in outcomes.breaks if broken.stream == "gateway")
    assert (broken.seq, broken.reason) == (seq, reason)
    assert f"BROKEN gateway record {seq}: {reason}" in report(outcomes)
    assert outcomes.heads["gateway"].seq == seq - 1


async def test_other_chains_are_walked_when_one_is_broken(store: FakeRecordStore) -> None:
    store.links.pop(4)
    outcomes = await verify_chains(store, FakeVault())
    assert outcomes.heads["consult"].seq == 5
    assert [broken.stream for broken in outcomes.breaks] == ["gateway"]


async def test_no_break_is_reported_when_records_come_during_the_walk(store: FakeRecordStore) -> None:
    class Busy(FakeRecordStore):
        """Gets a record between the heads and the walk."""

        async def heads(self) -> dict[str, Head]:
            noted = await super().heads()
            await append(self, looked(len(self.links) + 100))
            return noted

    busy = Busy()
    busy.links, busy.noted = store.links, store.noted
    assert (await verify_chains(busy, FakeVault())).breaks == []


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)), st.integers(1), st.sampled_from(["a", "object-writer"])
)
def test_place_is_read_as_it_was_written(at: datetime, seq: int, stream: str) -> None:
    place = Position(at.replace(tzinfo=UTC, microsecond=at.microsecond // 1000 * 1000), stream, seq)
    assert Position.parse(str(place)) == place
