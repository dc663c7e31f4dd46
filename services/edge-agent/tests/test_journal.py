"""The journal: what it answers after each transition, and that totals and outbox follow in the same transaction."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent.adapters.journal import Journal
from edge_agent.model import Arrival, Outcome, State
from imaging_common.events import Event, ManifestEntry, RejectedEntry, StudyAvailable


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    one = Journal(tmp_path / "journal.sqlite")
    yield one
    one.close()


def arrival(n: int, study: str = "1.2", length: int = 100, digest: int | None = None) -> Arrival:
    sha = f"{n if digest is None else digest:064x}"
    return Arrival(study, f"{study}.1", f"{study}.1.{n}", sha, length, f"00-{n:032x}-{1:016x}-01")


def announcement(version: int, manifest: list[ManifestEntry], rejected: list[RejectedEntry]) -> tuple[str, Event]:
    event = StudyAvailable(
        study_uid="1.2",
        announcement=version,
        basis="quiet",
        instances=manifest,
        announced_at=datetime.now(UTC),
        rejected=rejected,
    )
    return "edge-events-h", event


def test_arrival_is_new_once_and_a_duplicate_after(journal: Journal) -> None:
    assert journal.add([arrival(1), arrival(2)]) == [(Outcome.NEW, True), (Outcome.NEW, True)]
    assert journal.add([arrival(1)]) == [(Outcome.DUPLICATE, True)]
    assert journal.usage().instances[State.RECEIVED] == 2
    assert journal.usage().backlog_bytes == 200


def test_both_are_kept_when_the_same_uid_has_other_bytes(journal: Journal) -> None:
    journal.add([arrival(1), arrival(1, digest=99)])
    assert [row["sha256"] for row in journal.states_of("1.2")] == [f"{1:064x}", f"{99:064x}"]


def test_instance_moves_through_its_states(journal: Journal) -> None:
    journal.add([arrival(n) for n in range(1, 5)])
    assert journal.studies_to_send() == [("1.2", True)]
    first, second, third, fourth = journal.to_send("1.2", 10)
    journal.mark_sent([first.number, second.number])
    assert journal.studies_to_send() == [("1.2", False)]
    journal.mark_rejected({third.number: "A900"})
    entries = [ManifestEntry(sop_instance_uid=i.sop_instance_uid, sha256=i.sha256) for i in (first, second, third)]
    assert journal.mark_stored("1.2", entries) == 2
    assert journal.mark_stored("1.2", entries) == 0
    assert [row["state"] for row in journal.states_of("1.2")] == ["stored", "stored", "rejected", "received"]
    usage = journal.usage()
    assert (usage.backlog_instances, usage.held_bytes, usage.ring_bytes) == (1, 200, 200)
    assert journal.add([arrival(3)]) == [(Outcome.REJECTED, False)]
    assert [one.number for one in journal.ring_oldest(1)] == [first.number]
    assert [one.number for one in journal.ring_oldest(101)] == [first.number, second.number]
    journal.mark_removed([first.number])
    assert journal.usage().ring_bytes == 100
    assert journal.add([arrival(1)]) == [(Outcome.DUPLICATE, False)]
    assert set(journal.on_disk()) == {second.sha256, third.sha256, fourth.sha256}


def test_receipt_is_taken_when_the_answer_to_the_batch_was_lost(journal: Journal) -> None:
    journal.add([arrival(1)])
    (one,) = journal.to_send("1.2", 10)
    entry = ManifestEntry(sop_instance_uid=one.sop_instance_uid, sha256=one.sha256)
    assert journal.mark_stored("1.9", [entry]) == 0
    assert journal.mark_stored("1.2", [entry]) == 1
    journal.mark_sent([one.number])
    assert journal.states_of("1.2")[0]["state"] == "stored"
    assert journal.studies_to_send() == []


def test_study_is_announced_once_a_change_with_rising_versions(journal: Journal) -> None:
    journal.add([arrival(1), arrival(2)])
    assert journal.studies_to_announce() == {"1.2": 2}
    assert journal.announce("1.2", announcement)
    assert journal.studies_to_announce() == {}
    journal.add([arrival(2)])
    assert journal.studies_to_announce() == {}
    journal.add([arrival(3)])
    journal.announce("1.2", announcement)
    journal.mark_rejected({2: "C000"})
    journal.announce("1.2", announcement)
    events = journal.next_events(10)
    assert all(isinstance(one.event, StudyAvailable) for one in events)
    said = [(e.announcement, [i.sop_instance_uid for i in e.instances]) for e in (one.event for one in events)]  # type: ignore[attr-defined]
    uids = ["1.2.1.1", "1.2.1.2", "1.2.1.3"]
    assert said == [(1, uids[:2]), (2, uids), (3, [uids[0], uids[2]])]
    refused = [[(r.sop_instance_uid, r.reason) for r in one.event.rejected] for one in events]  # type: ignore[attr-defined]
    assert refused == [[], [], [(uids[1], "C000")]]
    assert events[0].traceparent == f"00-{1:032x}-{1:016x}-01"
    journal.mark_published(events[0].number)
    journal.set_aside(events[1].number, "too large")
    assert [one.number for one in journal.next_events(10)] == [events[2].number]
    assert journal.events_set_aside() == 1


def test_nothing_is_announced_when_all_was_rejected_before(journal: Journal) -> None:
    journal.add([arrival(1)])
    journal.mark_rejected({1: "C000"})
    assert not journal.announce("1.2", announcement)
    assert journal.studies_to_announce() == {}
    assert journal.next_events(10) == []


def test_transaction_leaves_nothing_when_it_fails(journal: Journal) -> None:
    journal.add([arrival(1)])

    def fail(_: int, __: list[ManifestEntry], ___: list[RejectedEntry]) -> tuple[str, Event]:
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(sqlite3.OperationalError):
        journal.announce("1.2", fail)
    assert journal.studies_to_announce() == {"1.2": 1}
    journal.announce("1.2", announcement)
    assert [one.event.announcement for one in journal.next_events(10)] == [1]  # type: ignore[attr-defined]


def test_journal_is_shared_by_processes_and_tells_what_is_held(tmp_path: Path) -> None:
    held: list[int] = []
    first = Journal(tmp_path / "j.sqlite", on_commit=held.append)
    second = Journal(tmp_path / "j.sqlite", on_commit=held.append)
    first.add([arrival(1)])
    second.add([arrival(2)])
    first.checkpoint()
    assert held == [100, 200]
    assert len(first.states_of("1.2")) == 2
    first.count_refusal("full")
    second.count_refusal("full")
    assert first.refusals() == {"full": 2}
    first.close()
    second.close()


def test_what_was_announced_is_announced_again_under_the_next_number(journal: Journal) -> None:
    journal.add([arrival(1), arrival(2, study="1.3")])
    assert journal.announce_again(None) == 0, "nothing was announced yet"
    for study in ("1.2", "1.3"):
        journal.announce(study, announcement)
    assert journal.studies_to_announce() == {}
    assert journal.announce_again("1.2") == 1
    assert list(journal.studies_to_announce()) == ["1.2"]
    assert journal.announce_again(None) == 1, "the other one; the first waits already"
    journal.announce("1.2", announcement)
    numbers = [one.event.announcement for one in journal.next_events(10) if isinstance(one.event, StudyAvailable)]
    assert numbers == [1, 1, 2]


def test_what_the_centre_lost_is_sent_again_while_it_is_here(journal: Journal) -> None:
    journal.add([arrival(n) for n in (1, 2, 3)])
    one, two, three = journal.to_send("1.2", 10)
    journal.mark_sent([one.number, two.number, three.number])
    entries = [ManifestEntry(sop_instance_uid=i.sop_instance_uid, sha256=i.sha256) for i in (one, two, three)]
    journal.mark_stored("1.2", entries[:2])
    journal.mark_removed([two.number])
    assert journal.send_again("1.2", entries) == 2, "of the second the file is gone"
    assert [i.sop_instance_uid for i in journal.to_send("1.2", 10)] == [one.sop_instance_uid, three.sop_instance_uid]
    assert journal.usage().instances[State.RECEIVED] == 2
    assert journal.studies_to_send() == [("1.2", False)]
    journal.mark_sent([one.number, three.number])
    assert journal.mark_stored("1.2", entries) == 2
    assert journal.send_again("1.9", entries) == 0
