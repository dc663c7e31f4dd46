"""Every event that a step of a consult sends, in the transaction of the step."""

from datetime import datetime
from typing import Any

from consult.model import ENDED, Action, Consult
from imaging_common.audit import TOPIC as AUDIT_TOPIC
from imaging_common.audit import Action as AuditAction
from imaging_common.audit import who
from imaging_common.auth import Claims
from imaging_common.events import (
    AuditRecorded,
    ConsultAccepted,
    ConsultAcknowledged,
    ConsultEvent,
    ConsultRejected,
    ConsultSubmitted,
    ConsultWithdrawn,
    Event,
    ReportIssued,
    StudyPinned,
    StudyReleased,
    Version,
)

SERVICE = "consult"
EVENT_OF: dict[Action, tuple[str, type[ConsultEvent]]] = {
    Action.SUBMIT: ("consult-changed", ConsultSubmitted),
    Action.ACCEPT: ("consult-changed", ConsultAccepted),
    Action.REJECT: ("consult-changed", ConsultRejected),
    Action.WITHDRAW: ("consult-changed", ConsultWithdrawn),
    Action.ISSUE: ("report-changed", ReportIssued),
    Action.ACKNOWLEDGE: ("consult-changed", ConsultAcknowledged),
}
"""Topic and event of each action. A draft is the expert's own and tells nobody."""
AUDIT_ACTIONS: dict[Action, AuditAction] = {
    Action.SUBMIT: "apply",
    Action.ACCEPT: "accept",
    Action.REJECT: "reject",
    Action.WITHDRAW: "withdraw",
    Action.DRAFT: "draft",
    Action.ISSUE: "issue",
    Action.ACKNOWLEDGE: "acknowledge",
}


def outgoing(consult: Consult, action: Action, claims: Claims, now: datetime) -> list[tuple[str, Event, str]]:
    """The transition, its audit records (one per study), and what the archive must keep at hand or may let go."""
    events: list[tuple[str, Event, str]] = []
    if action in EVENT_OF:
        topic, event_type = EVENT_OF[action]
        events.append((topic, _event(event_type, consult, now), consult.id))
    events += [(AUDIT_TOPIC, record, SERVICE) for record in _audit(consult, action, claims, now)]
    if action is Action.SUBMIT or consult.state in ENDED:
        kind = StudyPinned if action is Action.SUBMIT else StudyReleased
        for study in consult.studies:
            pin = kind(study_uid=study.study_uid, holder=study.holder, case_id=consult.id)
            events.append(("study-used", pin, study.study_uid))
    return events


def _event(event_type: type[ConsultEvent], consult: Consult, now: datetime) -> ConsultEvent:
    fields: dict[str, Any] = {
        "consult_id": consult.id,
        "number": consult.number,
        "version": Version(epoch=1, n=consult.version),
        "state": consult.state,
        "applicant": consult.applicant,
        "applicant_hospital": consult.applicant_hospital,
        "consultant_hospital": consult.consultant_hospital,
        "expert": consult.expert,
        "studies": [study.model_dump() for study in consult.studies],
        "urgency": consult.urgency,
        "workstation": consult.workstation,
        "at": now,
    }
    if consult.report is not None:
        fields |= {"report_id": consult.report.id, "report_version": consult.report.version}
    return event_type.model_validate(fields)


def _audit(consult: Consult, action: Action, claims: Claims, now: datetime) -> list[AuditRecorded]:
    return [
        AuditRecorded.model_validate(
            {
                "audit_id": f"{consult.id}-{consult.version}-{number}",
                "service": SERVICE,
                "action": AUDIT_ACTIONS[action],
                "outcome": "success",
                **who(claims),
                "roles": sorted(claims.roles),
                "consult_id": consult.id,
                "study_uid": study.study_uid,
                "holder": study.holder,
                "at": now,
            }
        )
        for number, study in enumerate(consult.studies, start=1)
    ]
