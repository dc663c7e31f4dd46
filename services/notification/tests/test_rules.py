"""Who is told what."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from imaging_common.events import (
    AccessGranted,
    ConsultAccepted,
    ConsultAcknowledged,
    ConsultEvent,
    ConsultRejected,
    ConsultSubmitted,
    ConsultWithdrawn,
    EdgeHeartbeat,
    ReportAmended,
    ReportIssued,
    StudyChanged,
    Version,
)
from notification.model import Organisation, access_notices, concerns, notices

RESIDENTS = Organisation(id="residents", hospitals=frozenset({"community"}))
NOW = datetime(2026, 11, 24, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
CASE = {
    "consult_id": "c1",
    "number": "C-20261124-0001",
    "version": Version(epoch=1, n=1),
    "state": "submitted",
    "applicant": "doctor.community",
    "applicant_hospital": "community",
    "consultant_hospital": "secondary",
    "studies": [],
    "at": NOW,
}


def changed(holder: str) -> StudyChanged:
    return StudyChanged.model_validate(
        {
            "study_uid": "1.2.3",
            "holder": holder,
            "version": {"epoch": 1, "n": 1},
            "tier": "central",
            "announced": True,
            "settled": False,
            "stored": False,
            "series_count": 1,
            "instance_count": 1,
            "announced_count": 1,
            "stored_count": 0,
            "changed_at": NOW,
        }
    )


def test_ehr_hears_of_its_hospitals_only() -> None:
    assert concerns(RESIDENTS, changed("community"))
    assert not concerns(RESIDENTS, changed("secondary"))


def test_ehr_hears_of_its_applicants_reports() -> None:
    issued = ReportIssued.model_validate({**CASE, "report_id": "r1", "report_version": 1})
    assert concerns(RESIDENTS, issued)


def test_ehr_hears_of_reports_on_studies_of_its_hospitals() -> None:
    study = {"study_uid": "1.2.3", "holder": "community"}
    asked_elsewhere = {**CASE, "applicant_hospital": "tertiary", "report_id": "r1", "report_version": 2}
    assert concerns(RESIDENTS, ReportAmended.model_validate({**asked_elsewhere, "studies": [study]}))
    assert not concerns(RESIDENTS, ReportAmended.model_validate({**asked_elsewhere, "studies": []}))


def test_ehr_hears_of_nothing_else() -> None:
    heartbeat = EdgeHeartbeat(
        sequence=1,
        backlog_instances=0,
        backlog_bytes=0,
        spool_bytes=0,
        spool_limit_bytes=1,
        agent_version="1",
        sent_at=NOW,
    )
    assert not concerns(RESIDENTS, heartbeat)
    assert not concerns(RESIDENTS, ConsultSubmitted.model_validate(CASE))


@pytest.mark.parametrize(
    ("event_type", "expert", "recipient", "kind"),
    [
        (ConsultSubmitted, None, "hospital:secondary:expert", "consult-submitted"),
        (ConsultAccepted, "expert.secondary", "user:doctor.community", "consult-accepted"),
        (ConsultRejected, None, "user:doctor.community", "consult-rejected"),
        (ConsultWithdrawn, None, "hospital:secondary:expert", "consult-withdrawn"),
        (ConsultWithdrawn, "expert.secondary", "user:expert.secondary", "consult-withdrawn"),
        (ConsultAcknowledged, "expert.secondary", "user:expert.secondary", "consult-acknowledged"),
        (ReportIssued, "expert.secondary", "user:doctor.community", "report-issued"),
        (ReportAmended, "expert.secondary", "user:doctor.community", "report-amended"),
    ],
)
def test_the_other_side_is_told(event_type: type[ConsultEvent], expert: str | None, recipient: str, kind: str) -> None:
    more = {"expert": expert, "reason": "陈某某的影像不全", "report_id": "r1", "report_version": 2}
    (notice,) = notices(event_type.model_validate({**CASE, **more}), "e1", NOW)
    assert (notice.recipient, notice.kind, notice.raised_at) == (recipient, kind, NOW)
    assert notice.link == "/portal/consults/c1"
    assert "陈" not in notice.model_dump_json()


def test_same_event_gives_the_same_notice_when_it_comes_twice() -> None:
    event = ConsultSubmitted.model_validate(CASE)
    assert notices(event, "e1", NOW)[0].notice_id == notices(event, "e1", LATER)[0].notice_id
    assert notices(event, "e1", NOW)[0].notice_id != notices(event, "e2", NOW)[0].notice_id


def test_organisation_that_is_no_topic_name_is_refused() -> None:
    with pytest.raises(ValidationError):
        Organisation(id="a_b", hospitals=frozenset())


@pytest.mark.parametrize(("kind", "told"), [("break-glass", ["region:auditor"]), ("launch", []), ("share-link", [])])
def test_privacy_officers_are_told_of_a_broken_glass_alone(kind: str, told: list[str]) -> None:
    event = AccessGranted.model_validate(
        {"grant_id": "g" * 32, "kind": kind, "user": "dr.wu", "granted_by": "dr.wu", "at": NOW, "until": LATER}
    )
    raised = access_notices(event, "e1", NOW)
    assert [notice.recipient for notice in raised] == told
    assert raised == access_notices(event, "e1", NOW)
    for notice in raised:
        assert (notice.kind, notice.number, notice.link) == ("break-glass", "BG-gggggggg", "/portal/audit")
        assert "dr.wu" not in notice.model_dump_json()
