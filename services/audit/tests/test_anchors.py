"""Anchors: whoever can write to the database can make a chain anew, but not so that the anchors agree."""

from datetime import UTC, datetime

import pytest

from audit.adapters.fake_records import FakeRecordStore
from audit.adapters.fake_vault import FakeVault
from audit.anchoring import Anchoring
from audit.model import Anchor, Head, make_link
from audit.usecases import anchor_heads, append_record, verify_chains
from imaging_common.events import AuditRecorded
from imaging_common.testing.metrics import Counted, gauge
from imaging_common.testing.waiting import until

NOW = datetime(2026, 11, 24, 8, 12, tzinfo=UTC)
HOUR = 3600.0


def looked(number: int, user: str = "doctor.community") -> AuditRecorded:
    return AuditRecorded(
        audit_id=f"a{number}", service="gateway", action="view", outcome="success", user=user, study_uid="1.2.3", at=NOW
    )


@pytest.fixture
async def store() -> FakeRecordStore:
    store = FakeRecordStore()
    for number in range(6):
        await append_record(store, looked(number), "p0")
    return store


async def test_one_anchor_an_hour_is_kept_and_the_chain_agrees_when_nobody_touched_it(store: FakeRecordStore) -> None:
    vault = FakeVault()
    assert await anchor_heads(store, vault, NOW, HOUR)
    await append_record(store, looked(7), "p0")
    assert not await anchor_heads(store, vault, NOW.replace(minute=59), HOUR)
    assert await anchor_heads(store, vault, NOW.replace(hour=9), HOUR)
    found = await verify_chains(store, vault)
    assert (found.breaks, found.anchors, found.count) == ([], 2, 7)


async def test_history_that_was_made_anew_with_its_head_is_seen(store: FakeRecordStore) -> None:
    vault = FakeVault()
    await anchor_heads(store, vault, NOW, HOUR)
    links, head = [], Head()
    for number in range(6):
        user = "nobody" if number == 2 else "doctor.community"
        links.append(make_link("p0", head, looked(number, user).model_dump(mode="json")))
        head = Head(links[-1]["seq"], links[-1]["hash"])
    store.links, store.noted = links, {"p0": head}
    assert (await verify_chains(store, FakeVault())).breaks == []
    (broken,) = (await verify_chains(store, vault)).breaks
    assert (broken.stream, broken.seq) == ("p0", 6)
    assert "anchored" in broken.reason


async def test_chain_that_is_gone_wholly_or_cut_is_seen(store: FakeRecordStore) -> None:
    vault = FakeVault()
    await anchor_heads(store, vault, NOW, HOUR)
    store.links = store.links[:3]
    store.noted = {"p0": Head(3, store.links[-1]["hash"])}
    assert [broken.seq for broken in (await verify_chains(store, vault)).breaks] == [4]
    store.links, store.noted = [], {}
    assert [broken.seq for broken in (await verify_chains(store, vault)).breaks] == [1]


async def test_anchoring_goes_on_and_says_so_when_the_vault_fails_in_whatever_way(store: FakeRecordStore) -> None:
    class Broken(FakeVault):
        async def keep(self, name: str, anchor: Anchor) -> bool:
            raise ValueError("a bug, not an outage")

    anchoring = Anchoring(store, Broken(), HOUR)
    failures = Counted("imaging_audit_anchor_failures_total")
    await anchoring.start()
    await until(lambda: "ValueError" in anchoring.state, what="its state")
    await anchoring.stop()
    assert failures.grown == 1


async def test_running_service_anchors_at_once_and_says_so(store: FakeRecordStore) -> None:
    vault = FakeVault()
    anchoring = Anchoring(store, vault, HOUR)
    await anchoring.start()
    await until(lambda: bool(vault.kept), what="the first anchor")
    await until(lambda: anchoring.state.startswith("anchored"), what="its state")
    await anchoring.stop()
    anchored_at = gauge("imaging_audit_anchored_timestamp_seconds")
    assert anchored_at == pytest.approx(datetime.now(UTC).timestamp(), abs=60)
