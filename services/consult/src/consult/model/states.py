"""The table of the workflow: from which states, by whom, to which state, told by which event."""

from dataclasses import dataclass
from enum import StrEnum

from imaging_common.events import (
    ConsultAccepted,
    ConsultAcknowledged,
    ConsultAmendmentStarted,
    ConsultAssigned,
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
    ConsultWithdrawn,
    ReportAmended,
    ReportIssued,
)


class State(StrEnum):
    """Where a consult is."""

    DRAFT = "draft"
    """The applicant is writing; nobody else sees it."""
    SUBMITTED = "submitted"
    RETURNED = "returned"
    """The applicant is to add something; time limits pause."""
    ACCEPTED = "accepted"
    """The hospital takes it; no expert yet."""
    ASSIGNED = "assigned"
    READING = "reading"
    DRAFTED = "drafted"
    IN_REVIEW = "in-review"
    """A second reader has it."""
    APPROVED = "approved"
    """The second reader agrees; the author signs."""
    ISSUED = "issued"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Action(StrEnum):
    """What somebody does to a consult: the last part of its address."""

    SUBMIT = "submit"
    RETURN = "return"
    REJECT = "reject"
    ACCEPT = "accept"
    ASSIGN = "assign"
    CLAIM = "claim"
    REASSIGN = "reassign"
    RELEASE = "release"
    READ = "read"
    DRAFT = "draft"
    REQUEST_REVIEW = "request-review"
    DECLINE_REVIEW = "decline-review"
    APPROVE = "approve"
    ISSUE = "issue"
    AMEND = "amend"
    ACKNOWLEDGE = "acknowledge"
    ACKNOWLEDGE_CRITICAL = "acknowledge-critical"
    WITHDRAW = "withdraw"
    ESCALATE = "escalate"
    ASK_PANEL = "ask-panel"
    EXCUSE_PANEL = "excuse-panel"
    GIVE_OPINION = "give-opinion"


class Role(StrEnum):
    """The part a person has in a case, by what their token says now."""

    APPLICANT = "applicant"
    """Who applied."""
    APPLICANT_SIDE = "applicant-side"
    """Any doctor of the applicant's hospital: a critical value waits for nobody."""
    CONSULTANT = "consultant"
    """An expert of the hospital (the department, or the person) that was asked."""
    COORDINATOR = "coordinator"
    """Who hands out the cases of the hospital that was asked."""
    EXPERT = "expert"
    """The expert who has the case."""
    PANEL = "panel"
    """An expert who was asked for an opinion beside."""
    SECOND_READER = "second-reader"
    """An expert of the hospital that was asked who is not the report's author."""


@dataclass(frozen=True, slots=True)
class Transition:
    """From these states, by one of these roles, to that state (None: the state stays), told by that event."""

    sources: frozenset[State]
    roles: frozenset[Role]
    target: State | None
    event: type[ConsultEvent]
    needs_reason: bool = False


def _of(
    sources: str, roles: str, target: State | None, event: type[ConsultEvent], *, needs_reason: bool = False
) -> Transition:
    """Names as they are written in the table below."""
    return Transition(
        frozenset(State(name) for name in sources.split()),
        frozenset(Role(name) for name in roles.split()),
        target,
        event,
        needs_reason,
    )


AT_WORK = "accepted assigned reading drafted in-review approved"
TRANSITIONS: dict[Action, Transition] = {
    Action.SUBMIT: _of("draft returned", "applicant", State.SUBMITTED, ConsultSubmitted),
    Action.RETURN: _of(
        "submitted accepted assigned reading drafted",
        "consultant coordinator",
        State.RETURNED,
        ConsultReturned,
        needs_reason=True,
    ),
    Action.REJECT: _of(
        f"submitted {AT_WORK}", "consultant coordinator", State.REJECTED, ConsultRejected, needs_reason=True
    ),
    Action.ACCEPT: _of("submitted", "consultant coordinator", State.ACCEPTED, ConsultAccepted),
    Action.ASSIGN: _of("submitted accepted", "coordinator", State.ASSIGNED, ConsultAssigned),
    Action.CLAIM: _of("submitted accepted", "consultant", State.ASSIGNED, ConsultAssigned),
    Action.REASSIGN: _of("assigned reading drafted", "expert coordinator", State.ASSIGNED, ConsultAssigned),
    Action.RELEASE: _of("assigned reading drafted", "expert", State.ACCEPTED, ConsultReleased),
    Action.READ: _of("assigned", "expert", State.READING, ConsultReadingStarted),
    Action.DRAFT: _of("reading", "expert", State.DRAFTED, ConsultReportDrafted),
    Action.REQUEST_REVIEW: _of("drafted", "expert", State.IN_REVIEW, ConsultReviewRequested),
    Action.DECLINE_REVIEW: _of("in-review", "second-reader", State.DRAFTED, ConsultReviewDeclined, needs_reason=True),
    Action.APPROVE: _of("in-review", "second-reader", State.APPROVED, ConsultReviewApproved),
    Action.ISSUE: _of("drafted approved", "expert", State.ISSUED, ReportIssued),
    Action.AMEND: _of("issued acknowledged", "expert", State.DRAFTED, ConsultAmendmentStarted, needs_reason=True),
    Action.ACKNOWLEDGE: _of("issued", "applicant", State.ACKNOWLEDGED, ConsultAcknowledged),
    Action.ACKNOWLEDGE_CRITICAL: _of("issued acknowledged", "applicant-side", None, ConsultCriticalAcknowledged),
    Action.WITHDRAW: _of(f"draft submitted returned {AT_WORK}", "applicant", State.WITHDRAWN, ConsultWithdrawn),
    Action.ESCALATE: _of("accepted assigned reading drafted", "expert coordinator", None, ConsultEscalated),
    Action.ASK_PANEL: _of("accepted assigned reading drafted", "expert coordinator", None, ConsultPanelChanged),
    Action.EXCUSE_PANEL: _of("accepted assigned reading drafted", "expert coordinator", None, ConsultPanelChanged),
    Action.GIVE_OPINION: _of("accepted assigned reading drafted", "panel", None, ConsultOpinionGiven),
}
"""One event and one audit record per row. `ISSUE` of a second or later version tells `ReportAmended` instead.

Cancelling: the applicant withdraws until a report is issued (with a reason once somebody took the case); the hospital
that was asked rejects until then, with a reason; an amendment under way ends by issuing it. A report that was issued is
never taken back, only amended. Whether the rules allow more than the table says (a reason for a late withdrawal, a
second reader by the hospital's policy, a panel that is complete) is in `rules.py`.
"""
LATER_VERSIONS_TELL = ReportAmended
ENDED = frozenset({State.REJECTED, State.WITHDRAWN, State.ACKNOWLEDGED})
"""States in which the case's access to the images has ended."""
PAUSED = frozenset({State.DRAFT, State.RETURNED})
"""States in which no time limit runs."""
