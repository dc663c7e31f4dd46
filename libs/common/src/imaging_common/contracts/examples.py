"""One example of each event type: realistic, synthetic, about nobody. UIDs as PS3.5 §B.2 derives them from UUIDs."""

import hashlib
from datetime import UTC, datetime, timedelta

from imaging_common import events as e
from imaging_common.events.consults import StudyReference

_STUDY = "2.25.329800735698586629295641978511506172918"
_SERIES = "2.25.179110093216524153226354177829440212115"
_FIRST = 261420733109876459112390452839012345670
_INSTANCES = [f"2.25.{_FIRST + n}" for n in range(3)]
_START = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
_ENTRIES = [
    e.ManifestEntry(sop_instance_uid=_INSTANCES[n - 1], sha256=hashlib.sha256(b"slice %d" % n).hexdigest())
    for n in (1, 2, 3)
]
_BATCH = hashlib.sha256("".join(entry.sha256 for entry in _ENTRIES).encode()).hexdigest()
_RETRIEVAL = hashlib.sha256(b"retrieval").hexdigest()[:32]
_PACK_KEY = f"community/{_STUDY}/{_SERIES}/{_BATCH}.json"


def _at(minutes: int) -> datetime:
    return _START + timedelta(minutes=minutes)


def _case(n: int, state: str, expert: str | None = None) -> dict[str, object]:
    return {
        "consult_id": "0f9b6d0c5b7e4a6b8d2f0a4c3e1d7b95",
        "number": "C-20261124-0001",
        "version": e.Version(epoch=0, n=n),
        "state": state,
        "applicant": "doctor.community",
        "applicant_hospital": "community",
        "consultant_hospital": "secondary",
        "expert": expert,
        "studies": [StudyReference(study_uid=_STUDY, holder="community")],
        "urgency": "urgent",
        "at": _at(20 + 5 * n),
    }


EXAMPLES: tuple[e.Event, ...] = (
    e.StudyAvailable(study_uid=_STUDY, announcement=1, basis="quiet", instances=_ENTRIES, announced_at=_at(2)),
    e.StudyWithdrawn(study_uid=_STUDY, announcement=2, reason="sent to the wrong device"),
    e.EdgeHeartbeat(
        sequence=42,
        backlog_instances=3,
        backlog_bytes=1_578_000,
        spool_bytes=734_003_200,
        spool_limit_bytes=21_474_836_480,
        agent_version="0.1.0",
        sent_at=_at(3),
    ),
    e.AnnounceRequested(study_uid=_STUDY, user="operator.region"),
    e.InstancesWanted(study_uid=_STUDY, instances=_ENTRIES[:1], user="operator.region"),
    e.EchoRequested(echo_id=_RETRIEVAL, deadline=_at(4)),
    e.EchoAnswered(echo_id=_RETRIEVAL, reason="", milliseconds=38, at=_at(3)),
    e.StorageMeasured(
        measured_at=_at(60),
        usage=[e.TierUsage(hospital="community", tier="archive", bytes=1_578_000, objects=1)],
        cache_quota_bytes=214_748_364_800,
    ),
    e.BatchStored(hospital="community", study_uid=_STUDY, instances=_ENTRIES),
    e.RetrieveRequested(
        retrieval_id=_RETRIEVAL,
        study_uid=_STUDY,
        priority=0,
        deadline=_at(15),
        series=[e.SeriesWanted(series_uid=_SERIES)],
        first=_INSTANCES[:1],
    ),
    e.RetrieveCancelled(retrieval_id=_RETRIEVAL, study_uid=_STUDY),
    e.RetrieveProgressed(
        retrieval_id=_RETRIEVAL,
        study_uid=_STUDY,
        state="running",
        instances_total=3,
        instances_done=1,
        bytes_done=526_000,
        at=_at(11),
    ),
    e.RetrieveFailed(
        retrieval_id=_RETRIEVAL,
        study_uid=_STUDY,
        reason="pacs-unreachable",
        instances_done=1,
        instances_missing=2,
        at=_at(12),
    ),
    e.OrderPlaced(
        order_id="O-20261124-0001",
        revision=1,
        accession="A20261124001",
        patient_id="SYN-000001",
        patient_name="Example^Synthetic=示例^合成",
        birth_date="19700101",
        sex="O",
        modality="CT",
        scheduled_at=_at(60),
        procedure="CT chest",
        body_part="CHEST",
        study_uid=_STUDY,
    ),
    e.OrderCancelled(order_id="O-20261124-0001", revision=2),
    e.InstancesReceived(
        hospital="community",
        study_uid=_STUDY,
        batch_id=_BATCH,
        manifest_key=f"community/{_STUDY}/{_BATCH}.json",
        instance_count=3,
        byte_count=1_578_000,
        has_edge=True,
    ),
    e.InstancesStored(
        hospital="community",
        study_uid=_STUDY,
        series_uid=_SERIES,
        pack_id=_BATCH,
        manifest_key=_PACK_KEY,
        instance_count=3,
    ),
    e.InstancesEvicted(
        hospital="secondary",
        study_uid=_STUDY,
        bucket="cache",
        manifest_keys=[f"secondary/{_STUDY}/{_BATCH}.json"],
    ),
    e.InstancesLocated(hospital="community", study_uid=_STUDY, manifest_key=_PACK_KEY, instances=_ENTRIES),
    e.StudyChanged(
        study_uid=_STUDY,
        holder="community",
        version=e.Version(epoch=0, n=4),
        tier="central",
        announced=True,
        settled=True,
        settled_basis="quiet",
        stored=True,
        series_count=1,
        instance_count=3,
        announced_count=3,
        stored_count=3,
        modalities=["CT"],
        study_date="20261124",
        changed_at=_at(6),
    ),
    e.StudyOpened(study_uid=_STUDY, holder="community", opened_at=_at(9)),
    e.StudyPinned(study_uid=_STUDY, holder="community", case_id="0f9b6d0c5b7e4a6b8d2f0a4c3e1d7b95"),
    e.StudyReleased(study_uid=_STUDY, holder="community", case_id="0f9b6d0c5b7e4a6b8d2f0a4c3e1d7b95"),
    e.StudyDeletionRequested(
        study_uid=_STUDY,
        holder="community",
        revision=1,
        reason="113001",
        user="operator.region",
        purge_after=_at(30 * 24 * 60),
    ),
    e.StudyRestored(study_uid=_STUDY, holder="community", revision=2, user="operator.region"),
    e.StudyCheckRequested(study_uid=_STUDY, holder="community", told=e.Version(epoch=1, n=4), user="operator.region"),
    e.StudyHeld(study_uid=_STUDY, holder="community", revision=3, held=True, user="operator.region"),
    e.ReportReceived(
        hospital="community",
        report_key=_RETRIEVAL,
        sha256=_BATCH,
        manifest_key=f"community/reports/{_RETRIEVAL}/{_BATCH}.json",
        kind="hl7-oru",
        received_at=_at(40),
    ),
    e.ReportMatched(hospital="community", report_key=_RETRIEVAL, study_uid=_STUDY, revision=1, user="operator.region"),
    e.HospitalRegistered(
        hospital="community",
        revision=1,
        name_zh="示例社区卫生服务中心",
        name_en="Example Community Hospital",
        level="community",
        tier="central",
    ),
    e.PatientLinked(hospital="community", patient_id="SYN-000001", resident_id="resident-000001", revision=1),
    e.PatientUnlinked(hospital="community", patient_id="SYN-000001", revision=2),
    e.ResidentMerged(resident_id="resident-000002", into="resident-000001", revision=1),
    e.NoticeRaised(
        notice_id="consult-submitted-0f9b6d0c-expert",
        recipient="hospital:secondary:expert",
        kind="consult-submitted",
        number="C-20261124-0001",
        link="/portal/consults/0f9b6d0c5b7e4a6b8d2f0a4c3e1d7b95",
        raised_at=_at(26),
    ),
    e.AuditRecorded(
        audit_id="5e2a8c1f7d3b4960a1c2e3f405162738",
        service="gateway",
        action="view",
        outcome="denied",
        reason="no-grant",
        user="doctor.community",
        hospital="community",
        study_uid=_STUDY,
        holder="secondary",
        at=_at(10),
    ),
    e.AccessGranted(
        grant_id="9c1d7e0a52b84f6d8e3f0b1a2c4d5e6f",
        kind="break-glass",
        user="doctor.community",
        hospital="community",
        granted_by="doctor.community",
        at=_at(11),
        until=_at(71),
    ),
    e.AccessEnded(
        grant_id="9c1d7e0a52b84f6d8e3f0b1a2c4d5e6f",
        kind="break-glass",
        revision=2,
        ended_by="doctor.community",
        at=_at(31),
    ),
    e.ConsultSubmitted.model_validate(_case(1, "submitted")),
    e.ConsultReturned.model_validate(_case(2, "returned")),
    e.ConsultAccepted.model_validate(_case(2, "accepted")),
    e.ConsultAssigned.model_validate(_case(3, "assigned", "expert.secondary")),
    e.ConsultReleased.model_validate(_case(4, "accepted") | {"previous_expert": "expert.secondary"}),
    e.ConsultReadingStarted.model_validate(_case(4, "reading", "expert.secondary")),
    e.ConsultReportDrafted.model_validate(_case(5, "drafted", "expert.secondary")),
    e.ConsultReviewRequested.model_validate(_case(6, "in-review", "expert.secondary")),
    e.ConsultReviewDeclined.model_validate(_case(7, "drafted", "expert.secondary") | {"reviewer": "chief.secondary"}),
    e.ConsultReviewApproved.model_validate(_case(7, "approved", "expert.secondary") | {"reviewer": "chief.secondary"}),
    e.ConsultRejected.model_validate(_case(2, "rejected")),
    e.ConsultWithdrawn.model_validate(_case(2, "withdrawn")),
    e.ConsultEscalated.model_validate(
        _case(5, "reading", "expert.secondary") | {"child_id": "5b7e4a6b8d2f0a4c3e1d7b950f9b6d0c"}
    ),
    e.ConsultPanelChanged.model_validate(
        _case(5, "reading", "expert.secondary")
        | {
            "member": "doctor.tertiary",
            "joined": True,
            "participants": [e.Participant(user="doctor.tertiary", hospital="tertiary", part="panel")],
        }
    ),
    e.ConsultOpinionGiven.model_validate(_case(6, "reading", "expert.secondary") | {"member": "doctor.tertiary"}),
    e.ConsultAcknowledged.model_validate(_case(9, "acknowledged", "expert.secondary")),
    e.ConsultAmendmentStarted.model_validate(_case(10, "drafted", "expert.secondary")),
    e.ConsultCriticalAcknowledged.model_validate(_case(9, "issued", "expert.secondary") | {"critical": True}),
    e.ConsultCommented.model_validate(
        _case(5, "reading", "expert.secondary")
        | {"comment_id": "9a8b6f7c1e0d", "mentions": ["doctor.community"], "by": "expert.secondary"}
    ),
    e.ConsultTimeLimit.model_validate(
        _case(1, "submitted") | {"limit": "accept", "step": "overdue", "due_at": _at(55), "overdue": True}
    ),
    e.ReportDelivered.model_validate(
        _case(9, "issued", "expert.secondary") | {"report_id": "7c1e0d9a8b6f", "report_version": 1, "outcome": "stored"}
    ),
    e.ReportWriteBackRequested(
        write_back_id=_RETRIEVAL,
        consult_id="0f9b6d0c5b7e4a6b8d2f0a4c3e1d7b95",
        report_version=1,
        study_uid=_STUDY,
        holder="community",
        instances=_ENTRIES[:2],
        deadline=_at(24 * 60),
    ),
    e.WriteBackDone(
        write_back_id=_RETRIEVAL,
        consult_id="0f9b6d0c5b7e4a6b8d2f0a4c3e1d7b95",
        report_version=1,
        study_uid=_STUDY,
        stored=_INSTANCES[:2],
        at=_at(61),
    ),
    e.NoticeSeen(notice_id="consult-submitted-0f9b6d0c-expert", user="expert.secondary", seen_at=_at(30)),
    e.ReportIssued.model_validate(
        _case(3, "issued", "expert.secondary") | {"report_id": "7c1e0d9a8b6f", "report_version": 1}
    ),
    e.ReportAmended.model_validate(
        _case(5, "amended", "expert.secondary") | {"report_id": "7c1e0d9a8b6f", "report_version": 2}
    ),
)
