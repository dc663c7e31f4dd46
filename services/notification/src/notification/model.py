"""Who is to be told what: one table over the public events of cases, and a few single rules. Pure."""

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal, cast

from imaging_common.events import (
    AccessGranted,
    ConsultAccepted,
    ConsultAcknowledged,
    ConsultAmendmentStarted,
    ConsultAssigned,
    ConsultCommented,
    ConsultCriticalAcknowledged,
    ConsultEscalated,
    ConsultEvent,
    ConsultOpinionGiven,
    ConsultPanelChanged,
    ConsultReadingStarted,
    ConsultRejected,
    ConsultReleased,
    ConsultReportDrafted,
    ConsultReturned,
    ConsultReviewApproved,
    ConsultReviewDeclined,
    ConsultReviewRequested,
    ConsultSubmitted,
    ConsultTimeLimit,
    ConsultWithdrawn,
    NoticeRaised,
    ReportAmended,
    ReportDelivered,
    ReportIssued,
)

PRIVACY_OFFICERS = "region:auditor"
Urgency = Literal["routine", "urgent", "emergency"]
To = Callable[[ConsultEvent], Iterable[str]]
"""Recipients, as `NoticeRaised.recipient` names them."""


def applicant(event: ConsultEvent) -> list[str]:
    """Who asked."""
    return [_user(event.applicant)]


def applicants_side(event: ConsultEvent) -> list[str]:
    """All doctors of the hospital that asked, the applicant among them: a critical value waits for nobody.

    The applicant of a case one level up need not be a doctor there, and is named besides.
    """
    doctors = _group(event.applicant_hospital, "doctor")
    return [doctors, *applicant(event)] if event.parent_id else [doctors]


def applicants_operators(event: ConsultEvent) -> list[str]:
    """Who looks after the machines of the hospital that asked."""
    return [_group(event.applicant_hospital, "hospital-operator")]


def expert(event: ConsultEvent) -> list[str]:
    """Who has the case; while nobody does, its hospital."""
    return [_user(event.expert)] if event.expert else asked_hospital(event)


def asked_hospital(event: ConsultEvent) -> list[str]:
    """Whoever may take the case: of a case to a person by name that person alone, else experts and coordinators."""
    named = _parts(event, "nominee")
    if named or event.by_name:
        return named
    return [_group(event.consultant_hospital, "expert"), _group(event.consultant_hospital, "coordinator")]


def coordinators(event: ConsultEvent) -> list[str]:
    """Who sees to it that the asked hospital answers; nobody else may know of a case to a person by name."""
    return asked_hospital(event) if event.by_name else [_group(event.consultant_hospital, "coordinator")]


def second_reader(event: ConsultEvent) -> list[str]:
    """Who is to read a second time; while nobody is named, the other experts of the hospital."""
    return _parts(event, "reviewer") or ([] if event.by_name else [_group(event.consultant_hospital, "expert")])


def panel(event: ConsultEvent) -> list[str]:
    """Who was asked for an opinion beside."""
    return _parts(event, "panel")


def member(event: ConsultEvent) -> list[str]:
    """Whom a change of the panel is about."""
    return [_user(getattr(event, "member", ""))]


def previous_expert(event: ConsultEvent) -> list[str]:
    """Who had the case before."""
    return [_user(getattr(event, "previous_expert", ""))]


def mentioned(event: ConsultEvent) -> list[str]:
    """Whom a comment addresses."""
    return [_user(user) for user in getattr(event, "mentions", [])]


def in_discussion(event: ConsultEvent) -> list[str]:
    """Applicant, expert and panel."""
    return [*applicant(event), *([_user(event.expert)] if event.expert else []), *panel(event)]


RULES: dict[type[ConsultEvent], tuple[tuple[str, To], ...]] = {
    ConsultSubmitted: (("consult-submitted", asked_hospital),),
    ConsultReturned: (("consult-returned", applicant),),
    ConsultAccepted: (("consult-accepted", applicant),),
    ConsultAssigned: (
        ("consult-assigned", expert),
        ("consult-taken-over", previous_expert),
        ("consult-taken", applicant),
    ),
    ConsultReleased: (("consult-released", asked_hospital),),
    ConsultReadingStarted: (),
    ConsultReportDrafted: (),
    ConsultReviewRequested: (("review-requested", second_reader),),
    ConsultReviewDeclined: (("review-declined", expert),),
    ConsultReviewApproved: (("review-approved", expert),),
    ConsultRejected: (("consult-rejected", applicant),),
    ConsultWithdrawn: (("consult-withdrawn", expert), ("consult-withdrawn", panel)),
    ConsultEscalated: (("consult-escalated", applicant),),
    ConsultOpinionGiven: (("opinion-given", expert),),
    ConsultAcknowledged: (("consult-acknowledged", expert),),
    ConsultAmendmentStarted: (("amendment-started", applicant),),
    ConsultCriticalAcknowledged: (("critical-acknowledged", expert),),
    ConsultCommented: (("comment-mentioned", mentioned), ("consult-commented", in_discussion)),
    ReportIssued: (("report-issued", applicant), ("report-issued", panel)),
    ReportAmended: (("report-amended", applicant), ("report-amended", panel)),
}
"""Event → kinds of notice and whom they go to. Somebody whom two rows name gets the first."""
OPINION_RULES = {True: (("opinion-requested", member),), False: (("opinion-excused", member),)}
CRITICAL_RULES: tuple[tuple[str, To], ...] = (("critical-value", applicants_side), ("report-issued", panel))
DELIVERY_RULES: dict[str, tuple[tuple[str, To], ...]] = {
    "stored": (),
    "failed": (("report-undelivered", applicant), ("report-undelivered", applicants_operators)),
}
LIMIT_RULES: dict[tuple[str, str], tuple[To, ...]] = {
    ("accept", "reminder"): (asked_hospital,),
    ("accept", "overdue"): (asked_hospital,),
    ("accept", "escalated"): (asked_hospital, applicant),
    ("opinion", "reminder"): (expert, panel),
    ("opinion", "overdue"): (expert, panel, coordinators),
    ("opinion", "escalated"): (expert, coordinators, applicant),
    ("report", "reminder"): (expert,),
    ("report", "overdue"): (expert, coordinators),
    ("report", "escalated"): (expert, coordinators, applicant),
    ("critical", "reminder"): (applicants_side,),
    ("critical", "overdue"): (applicants_side,),
    ("critical", "escalated"): (applicants_side, expert),
}
"""Of a time limit: the nearer side first, then those who can do something about it."""


SETTLED: dict[type[ConsultEvent], tuple[str, ...]] = {
    ConsultAccepted: ("limit-accept",),
    ConsultAssigned: ("consult-submitted", "consult-released", "limit-accept"),
    ConsultReturned: ("consult-submitted", "consult-released", "limit-"),
    ConsultRejected: ("consult-submitted", "consult-released", "limit-"),
    ConsultWithdrawn: ("consult-submitted", "consult-released", "consult-assigned", "opinion-requested", "limit-"),
    ConsultReviewDeclined: ("review-requested",),
    ConsultReviewApproved: ("review-requested",),
    ConsultCriticalAcknowledged: ("critical-value", "limit-critical"),
    ReportIssued: ("review-requested", "opinion-requested", "limit-opinion", "limit-report"),
    ReportAmended: ("review-requested", "opinion-requested", "limit-opinion", "limit-report"),
}
"""Event → beginnings of the kinds it settles: of what came before in this case nobody need be told any more by other
channels; a hospital's experts get no mail about what one of them has taken meanwhile."""


def settles(event: ConsultEvent) -> tuple[str, ...]:
    """See `SETTLED`."""
    return SETTLED.get(type(event), ())


def link_of(event: ConsultEvent) -> str:
    """The case's page."""
    return f"/portal/consults/{event.consult_id}"


def notices(event: ConsultEvent, event_id: str, raised_at: datetime) -> list[NoticeRaised]:
    """The notices an event of a case raises; the same event again gives the same ids. Number and link only.

    Who did it is not told of it.
    """
    kinds: dict[str, str] = {}
    for kind, to in rules_of(event):
        for recipient in to(event):
            if recipient not in ("", _user(event.by)):
                kinds.setdefault(recipient, kind)
    link = link_of(event)
    return [
        _notice(event_id, recipient, kind, event.number, link, raised_at, urgency_of(event, kind))
        for recipient, kind in kinds.items()
    ]


def rules_of(event: ConsultEvent) -> tuple[tuple[str, To], ...]:
    """The rows of the table for this event."""
    if isinstance(event, ConsultTimeLimit):
        kind = f"limit-{event.limit}-{event.step}"
        return tuple((kind, to) for to in LIMIT_RULES[event.limit, event.step])
    if isinstance(event, ConsultPanelChanged):
        return OPINION_RULES[event.joined]
    if isinstance(event, ReportDelivered):
        return DELIVERY_RULES[event.outcome]
    if isinstance(event, ReportIssued | ReportAmended) and event.critical:
        return CRITICAL_RULES
    return RULES[type(event)]


def urgency_of(event: ConsultEvent, kind: str) -> Urgency:
    """How much it presses: a critical value always does; otherwise as the application."""
    if kind.startswith(("critical-value", "limit-critical")):
        return "emergency"
    return cast(Urgency, event.urgency) if event.urgency in ("urgent", "emergency") else "routine"


def access_notices(event: AccessGranted, event_id: str, raised_at: datetime) -> list[NoticeRaised]:
    """The privacy officers of the region are told that somebody broke the glass; who and why stands in the audit."""
    if event.kind != "break-glass":
        return []
    number = f"BG-{event.grant_id[:8]}"
    return [_notice(event_id, PRIVACY_OFFICERS, event.kind, number, "/portal/audit", raised_at, "urgent")]


def _user(user: str | None) -> str:
    return f"user:{user}" if user else ""


def _group(hospital: str, role: str) -> str:
    return f"hospital:{hospital}:{role}" if hospital else ""


def _parts(event: ConsultEvent, part: str) -> list[str]:
    return [_user(one.user) for one in event.participants if one.part == part]


def _notice(
    event_id: str, recipient: str, kind: str, number: str, link: str, raised_at: datetime, urgency: Urgency
) -> NoticeRaised:
    """A notice whose id is the same for the same event and recipient."""
    return NoticeRaised(
        notice_id=hashlib.sha256(f"{event_id} {recipient}".encode()).hexdigest()[:32],
        recipient=recipient,
        kind=kind,
        number=number,
        link=link,
        raised_at=raised_at,
        urgency=urgency,
    )
