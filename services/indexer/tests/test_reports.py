"""The rules of reports: SR content, which version counts, who is believed about the study."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from indexer.reports import Candidate, Statement, compose, is_report_class, read_content

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def version(sha256: str = "a", *, minutes: int = 0, received: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "_id": f"h/k/{sha256}", "report": "h/k", "hospital": "h", "report_key": "k", "report_id": "F7",
        "kind": "hl7-oru", "sha256": sha256, "data_key": "", "media_type": "", "status": "final",
        "issued_at": NOW + timedelta(minutes=minutes),
        "received_at": NOW + timedelta(minutes=received), "study_uid": None, "accession": "", "accession_issuer": "",
        "patient": {"id": "P", "name": {"search": ["王小东"]}}, "title": "", "author": "", "findings": "",
        "impression": sha256,
        "attachments": [], "series_uid": None, "sop_instance_uid": None, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        ([version("a", minutes=1), version("b", minutes=2)], "b"),
        ([version("b", minutes=2), version("a", minutes=1, received=9)], "b"),
        ([version("a", received=1), version("b", received=2)], "b"),
    ],
)
def test_newest_version_is_the_one_issued_last_then_received_last(versions: list[Any], newest: str) -> None:
    document = compose(versions, None, None, [])
    assert (document["sha256"], document["versions"], document["_id"]) == (newest, 2, "h/k")
    assert "a" in document["search"].split()


def test_study_is_the_persons_then_the_uids_then_the_accessions() -> None:
    both = version(study_uid="1.2", accession="A1")
    studies = [Candidate("h/1.2", "1.2", "", "P"), Candidate("h/1.3", "1.3", "A1", "P")]
    assert compose([both], Statement("1.9", 1, "o"), None, studies)["study_key"] == "h/1.9"
    assert compose([both], Statement(None, 1, "o"), None, studies)["study_key"] is None
    assert compose([both], None, None, studies)["matched"] == "uid"
    assert compose([both], None, None, studies[1:])["matched"] == "accession"
    assert compose([both], None, None, [Candidate("h/1.3", "1.3", "A1", "other")])["matched"] == "review"


def test_accession_that_means_two_studies_keeps_what_it_meant_before() -> None:
    one, two = Candidate("h/1.2", "1.2", "A1", "P"), Candidate("h/1.3", "1.3", "A1", "P")
    report = version(accession="A1")
    first = compose([report], None, None, [one])
    assert compose([report], None, first, [one, two])["study_key"] == "h/1.2"
    assert compose([report], None, None, [one, two])["matched"] == "review"


def item(kind: str, code: str = "", label: str = "", **more: Any) -> dict[str, Any]:
    name = {"00080100": {"vr": "SH", "Value": [code]}, "00080104": {"vr": "LO", "Value": [label]}}
    return {"0040A040": {"vr": "CS", "Value": [kind]}, "0040A043": {"vr": "SQ", "Value": [name]}, **more}


def test_content_tree_becomes_text() -> None:
    measured = {"0040A30A": {"Value": [6.5]}, "004008EA": {"Value": [{"00080100": {"Value": ["mm"]}}]}}
    length = item("NUM", "121206", "Distance", **{"0040A300": {"Value": [measured]}})
    found = item("TEXT", "121071", "Finding", **{"0040A160": {"Value": ["右肺结节"]}, "0040A730": {"Value": [length]}})
    closing = item(
        "CONTAINER",
        "121076",
        "Conclusions",
        **{"0040A730": {"Value": [item("TEXT", **{"0040A160": {"Value": ["随访"]}})]}},
    )
    header = {"0040A730": {"vr": "SQ", "Value": [found, closing]}}
    assert read_content(header) == ("右肺结节\nDistance: 6.5 mm", "Conclusions\n随访")


def test_content_that_is_nested_without_end_or_broken_costs_nothing() -> None:
    deep: dict[str, Any] = item("CONTAINER", label="x")
    for _ in range(20_000):
        deep = item("CONTAINER", label="x", **{"0040A730": {"Value": [deep, None, "y"]}})
    assert read_content({"0040A730": {"Value": [deep]}})[0].startswith("x\nx")
    assert read_content({"0040A730": {"vr": "SQ"}}) == ("", "")


def test_only_documents_are_reports() -> None:
    assert is_report_class("1.2.840.10008.5.1.4.1.1.88.33")
    assert is_report_class("1.2.840.10008.5.1.4.1.1.104.1")
    assert not is_report_class("1.2.840.10008.5.1.4.1.1.88.59")
    assert not is_report_class("1.2.840.10008.5.1.4.1.1.2")
