"""What is said for what was found: each study is checked once, and hospitals are asked for what only they can give."""

from datetime import UTC, datetime
from typing import Any, cast

from minio import Minio

from imaging_common.events import (
    AnnounceRequested,
    InstancesWanted,
    ManifestEntry,
    StudyCheckRequested,
    StudyDeletionRequested,
    StudyHeld,
    StudyRestored,
    Version,
)
from imaging_operate.reconcile.mend import messages
from imaging_operate.reconcile.model import CHECKED, REMEDIES, Finding
from imaging_operate.streams import pages, side_by_side

STUDY = "1.2.3"
NO_STORE = cast(Minio, None)


def entry(number: int) -> ManifestEntry:
    return ManifestEntry(sop_instance_uid=f"1.2.3.{number}", sha256=f"{number:064x}")


def said(*findings: Finding, told: dict[tuple[str, str], Version] | None = None) -> list[Any]:
    return [(topic, event) for topic, event, _ in messages(findings, "me", NO_STORE, told or {})]


def test_a_study_is_checked_once_whatever_was_found_of_it() -> None:
    found = [
        Finding("not-indexed", "community", STUDY, "archive/a.json"),
        Finding("not-indexed", "community", STUDY, "archive/b.json"),
        Finding("not-in-ledger", "community", STUDY, "archive/b.json"),
    ]
    assert said(*found) == [
        ("study-commanded", StudyCheckRequested(study_uid=STUDY, holder="community", user="me")),
    ]


def test_the_newest_version_that_anybody_was_told_goes_with_it() -> None:
    found = Finding("told-newer", "community", STUDY, told=Version(epoch=1, n=9))
    others = {("community", STUDY): Version(epoch=2, n=1)}
    (_, first), *_ = said(found, told=others)
    assert first.told == Version(epoch=2, n=1)


def test_a_study_that_the_index_lost_is_announced_again() -> None:
    topics = [(topic, type(event)) for topic, event in said(Finding("study-missing", "tertiary", STUDY))]
    assert topics == [("study-commanded", StudyCheckRequested), ("edge-commands-tertiary", AnnounceRequested)]


def test_lost_instances_are_asked_for_in_bounded_messages() -> None:
    wanted = tuple(entry(n) for n in range(2500))
    found = Finding("object-missing", "community", STUDY, wanted=wanted)
    same = Finding("bytes-missing", "community", STUDY, wanted=wanted[:10])
    asked = [event for _, event in said(found, same) if isinstance(event, InstancesWanted)]
    assert [len(event.instances) for event in asked] == [1000, 1000, 500]


def test_a_hospital_whose_announcements_were_lost_announces_all() -> None:
    ((topic, event),) = said(Finding("announcements-missing", "tcm"))
    assert (topic, event) == ("edge-commands-tcm", AnnounceRequested(user="me"))


def test_orders_keep_their_revisions() -> None:
    order = {
        "deleted": True,
        "deletion_revision": 4,
        "reason": "113039",
        "purge_after": datetime(2027, 1, 1, tzinfo=UTC),
    }
    ((_, deletion),) = said(Finding("deletion-not-followed", "community", STUDY, detail=order))
    assert isinstance(deletion, StudyDeletionRequested)
    assert deletion.revision == 4
    undone = {"deleted": False, "deletion_revision": 5, "held": True, "hold_revision": 2}
    events = [event for _, event in said(Finding("deletion-not-followed", "community", STUDY, detail=undone))]
    assert [type(event) for event in events] == [StudyRestored, StudyHeld]


def test_every_kind_has_a_remedy() -> None:
    assert REMEDIES.keys() > CHECKED


def test_sorted_streams_meet() -> None:
    pairs = list(side_by_side(["a", "c", "d"], ["b", "c"], str, str))
    assert pairs == [("a", None), (None, "b"), ("c", "c"), ("d", None)]
    assert list(side_by_side([], [], str, str)) == []
    assert list(pages(range(5), 2)) == [[0, 1], [2, 3], [4]]
