"""Every event that a step of a consult sends, in the transaction of the step."""

from datetime import datetime
from typing import Any

from consult.model import ENDED, TRANSITIONS, Action, Consult, Study, participants, was_submitted
from consult.model.states import LATER_VERSIONS_TELL
from imaging_common.audit import TOPIC as AUDIT_TOPIC
from imaging_common.audit import Action as AuditAction
from imaging_common.audit import who
from imaging_common.auth import Claims
from imaging_common.events import AuditRecorded, ConsultEvent, Event, StudyPinned, StudyReleased, Version
from imaging_common.events.consults import REPORT_EVENTS

SERVICE = "consult"
TOPIC = "consult-changed"
REPORT_TOPIC = "report-changed"
AUDIT_ACTIONS: dict[Action, AuditAction] = {
    Action.SUBMIT: "apply",
    Action.RETURN: "return",
    Action.REJECT: "reject",
    Action.ACCEPT: "accept",
    Action.ASSIGN: "assign",
    Action.CLAIM: "assign",
    Action.REASSIGN: "assign",
    Action.RELEASE: "release",
    Action.READ: "read",
    Action.DRAFT: "draft",
    Action.REQUEST_REVIEW: "review",
    Action.DECLINE_REVIEW: "review",
    Action.APPROVE: "review",
    Action.ISSUE: "issue",
    Action.AMEND: "amend",
    Action.ACKNOWLEDGE: "acknowledge",
    Action.ACKNOWLEDGE_CRITICAL: "acknowledge",
    Action.WITHDRAW: "withdraw",
    Action.ESCALATE: "escalate",
    Action.ASK_PANEL: "opinion",
    Action.EXCUSE_PANEL: "opinion",
    Action.GIVE_OPINION: "opinion",
}
Sent = tuple[str, Event, str]


def outgoing(
    before: Consult | None, after: Consult, action: Action, claims: Claims, now: datetime, more: dict[str, Any]
) -> list[Sent]:
    """The transition, its audit records (one per study), and what the archive must keep at hand or may let go.

    A draft that was never submitted is nobody's business: withdrawing it leaves the audit record alone.

    Parameters
    ----------
    more
        What this event says beside what every event of a consult does.
    """
    events: list[Sent] = []
    if was_submitted(after):
        kind = TRANSITIONS[action].event
        if action is Action.ISSUE and after.report is not None and after.report.version > 1:
            kind = LATER_VERSIONS_TELL
        topic = REPORT_TOPIC if kind in REPORT_EVENTS else TOPIC
        events.append((topic, consult_event(kind, after, now, by=claims.user, **more), after.id))
    events += [(AUDIT_TOPIC, record, after.id) for record in _audit(after, action, claims, now)]
    return events + pins(before, after)


def consult_event(kind: type[ConsultEvent], consult: Consult, now: datetime, **more: Any) -> ConsultEvent:
    """An event of this case as it is now; `more`: what this kind says beside."""
    fields: dict[str, Any] = {
        "consult_id": consult.id,
        "number": consult.number,
        "version": Version(epoch=consult.epoch, n=consult.version),
        "state": consult.state,
        "applicant": consult.applicant,
        "applicant_hospital": consult.applicant_hospital,
        "consultant_hospital": consult.consultant_hospital,
        "expert": consult.expert,
        "studies": [study.model_dump() for study in consult.studies],
        "urgency": consult.urgency,
        "workstation": consult.workstation,
        "at": now,
        "department": consult.department,
        "by_name": consult.by_name,
        "participants": participants(consult),
        "parent_id": consult.parent_id,
        "overdue": consult.overdue,
        "critical": consult.report is not None and consult.report.critical,
    }
    if kind in REPORT_EVENTS and consult.report is not None:
        fields |= {"report_id": consult.report.id, "report_version": consult.report.version}
    return kind.model_validate(fields | more)


def pins(before: Consult | None, after: Consult) -> list[Sent]:
    """What the case needs from now on, and needs no more."""
    had, has = _needed(before), _needed(after)
    events: list[Sent] = []
    for kind, studies in (
        (StudyPinned, [s for s in has if s not in had]),
        (StudyReleased, [s for s in had if s not in has]),
    ):
        for study in studies:
            pin = kind(study_uid=study.study_uid, holder=study.holder, case_id=after.id)
            events.append(("study-used", pin, study.study_uid))
    return events


def _needed(consult: Consult | None) -> list[Study]:
    if consult is None or not was_submitted(consult) or consult.state in ENDED:
        return []
    return consult.studies


def _audit(consult: Consult, action: Action, claims: Claims, now: datetime) -> list[AuditRecorded]:
    studies: list[Study | None] = [*consult.studies] or [None]
    return [
        AuditRecorded.model_validate(
            {
                "audit_id": f"{consult.id}-{consult.epoch}.{consult.version}-{number}",
                "service": SERVICE,
                "action": AUDIT_ACTIONS[action],
                "outcome": "success",
                **who(claims),
                "roles": sorted(claims.roles),
                "consult_id": consult.id,
                "study_uid": study.study_uid if study else None,
                "holder": study.holder if study else None,
                "at": now,
            }
        )
        for number, study in enumerate(studies, start=1)
    ]
