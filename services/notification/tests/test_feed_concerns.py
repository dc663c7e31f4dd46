"""The table of what concerns an organisation, and what a snapshot brings."""

from datetime import UTC, datetime
from typing import Any

import pytest

from imaging_common.events import ConsultSubmitted, Event, ReportAmended, ReportDelivered, ReportIssued, StudyChanged
from notification.feed.cloudevents import document, record
from notification.feed.model import Facts, FeedEntry, Organisation, Snapshot, Statement, concerns, missed

NOW = datetime(2026, 11, 28, 8, tzinfo=UTC)
CITY = Organisation(id="city", hospitals=frozenset({"community"}))
BY_US, BY_OTHERS, UNLINKED = Facts(frozenset({"city"})), Facts(frozenset({"county"})), Facts()


def study(holder: str, **more: Any) -> StudyChanged:
    return StudyChanged.model_validate(
        {
            "study_uid": "1.2.3", "holder": holder, "version": {"epoch": 1, "n": 1}, "tier": "central",
            "announced": True, "settled": False, "stored": False, "series_count": 1, "instance_count": 1,
            "announced_count": 1, "stored_count": 0, "changed_at": NOW, **more,
        }
    )  # fmt: skip


def about_case(kind: type[Event], applicant: str, holder: str | None, version: int = 1, **more: Any) -> Event:
    return kind.model_validate(
        {
            "consult_id": "c1", "number": "C-20261128-0001", "version": {"epoch": 1, "n": 9}, "state": "issued",
            "applicant": "d", "applicant_hospital": applicant, "consultant_hospital": "community", "at": NOW,
            "studies": [{"study_uid": "1.2.3", "holder": holder}] if holder else [], "report_id": "r1",
            "report_version": version, **more,
        }
    )  # fmt: skip


OF_OURS = about_case(ReportIssued, "community", None)
TABLE = [
    ("our hospital's study", study("community"), UNLINKED, True),
    ("another's study", study("secondary"), UNLINKED, False),
    ("another's study of our resident", study("secondary"), BY_US, True),
    ("another's study of another EHR's resident", study("secondary"), BY_OTHERS, False),
    ("a report that we asked for", OF_OURS, UNLINKED, True),
    ("a report on our study", about_case(ReportAmended, "tcm", "community", 2), UNLINKED, True),
    ("a report on our resident's study", about_case(ReportIssued, "tcm", "secondary"), BY_US, True),
    ("others' report", about_case(ReportIssued, "tcm", "secondary"), BY_OTHERS, False),
    ("a report that our experts wrote for others", about_case(ReportIssued, "tcm", None), UNLINKED, False),
    ("how a case goes", about_case(ConsultSubmitted, "community", "community"), BY_US, False),
]


@pytest.mark.parametrize(("event", "facts", "told"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_organisation_is_told_what_concerns_it(event: Event, facts: Facts, told: bool) -> None:
    assert concerns(CITY, event, facts) is told


@pytest.mark.parametrize(
    ("job", "event", "facts", "put"),
    [
        ({"kind": "hospitals", "before": None}, study("community"), UNLINKED, True),
        ({"kind": "hospitals", "before": None}, study("secondary"), UNLINKED, False),
        ({"kind": "hospitals", "before": frozenset({"community"})}, study("community"), UNLINKED, False),
        ({"kind": "hospitals", "before": frozenset({"tcm"})}, study("community"), UNLINKED, True),
        ({"kind": "hospitals", "before": frozenset({"tcm"})}, study("community"), BY_US, False),
        ({"kind": "resident"}, study("secondary"), BY_US, True),
        ({"kind": "resident"}, study("community"), BY_US, False),
    ],
)
def test_snapshot_brings_what_was_missed_and_nothing_twice(job: Any, event: Event, facts: Facts, put: bool) -> None:
    made = Snapshot(id="j", organisation="city", created_at=NOW, **job)
    assert missed(CITY, made, event, facts) is put


def test_newer_report_version_is_the_last_word_and_a_delivery_is_another_matter() -> None:
    first = Statement(about_case(ReportIssued, "tcm", None), "e1", "c1")
    second = Statement(about_case(ReportAmended, "tcm", None, 2), "e2", "c1")
    assert first.aggregate == second.aggregate == "report/c1"
    assert first.order < second.order
    assert set(ReportDelivered.model_fields) >= {"consult_id", "report_version"}


def test_both_modes_of_an_event_say_the_same() -> None:
    entry = FeedEntry("city", 42, NOW, "e1", "StudyChanged", "1.2.3", study("community").model_dump_json())
    value, key, headers = record(entry)
    whole = document(entry)
    told = {name[3:]: text.decode() for name, text in headers if name.startswith("ce_")}
    assert told.items() <= {name: str(one) for name, one in whole.items()}.items()
    assert (key, whole["sequence"]) == (b"1.2.3", "00000000000000000042")
    assert whole["data"]["study_uid"] == "1.2.3"
    assert record(entry) == (value, key, headers)
