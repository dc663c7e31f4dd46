"""Who is told what."""

from datetime import UTC, datetime

from imaging_common.events import ConsultSubmitted, EdgeHeartbeat, ReportIssued, StudyChanged, Version
from notification.model import Organisation, concerns, notices

RESIDENTS = Organisation(id="residents", hospitals=frozenset({"community"}))
NOW = datetime(2026, 11, 24, tzinfo=UTC)
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


def test_experts_of_the_asked_hospital_are_told_of_an_application() -> None:
    (notice,) = notices(ConsultSubmitted.model_validate(CASE), "e1")
    assert (notice.recipient, notice.kind) == ("hospital:secondary:expert", "consult-submitted")
    assert notice.link == "/portal/consults/c1"


def test_same_event_gives_the_same_notice_when_it_comes_twice() -> None:
    event = ConsultSubmitted.model_validate(CASE)
    assert notices(event, "e1")[0].notice_id == notices(event, "e1")[0].notice_id
    assert notices(event, "e1")[0].notice_id != notices(event, "e2")[0].notice_id
