"""Events of the consultation workflow: one per transition. They name people by user id only, never patients."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from imaging_common.events.base import Event, Version
from imaging_common.ids import HospitalId, Uid


class StudyReference(Event):
    """A study of a case, at one holder."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    holder: HospitalId = Field(description="The hospital that holds it.")


class Participant(Event):
    """Somebody who has a part in a case by name."""

    user: str = Field(description="User id.")
    hospital: HospitalId = Field(description="Their hospital.")
    part: Literal["expert", "panel", "reviewer", "nominee"] = Field(description="Which part it is.")


class ConsultEvent(Event):
    """What every transition of a consult carries."""

    consult_id: str = Field(description="Id of the consult.")
    number: str = Field(description="The number people use, e.g. C-20261124-0001.")
    version: Version = Field(description="Orders the transitions of this consult.")
    state: str = Field(description="The state after the transition.")
    applicant: str = Field(description="User id of the applicant.")
    applicant_hospital: HospitalId = Field(description="The applicant's hospital.")
    consultant_hospital: HospitalId = Field(description="The hospital that is asked.")
    expert: str | None = Field(default=None, description="User id of the expert, once there is one.")
    studies: list[StudyReference] = Field(description="The case's studies; access to them goes with the case.")
    urgency: str = Field(default="routine", description="routine, urgent or emergency.")
    workstation: bool = Field(default=False, description="The case's images may go to the hospitals' workstations.")
    at: datetime = Field(description="When, UTC; never decides order.")
    by: str = Field(default="", description="User id of who did it; empty: the region itself (a time limit).")
    department: str = Field(default="", description="The department that is asked; empty: the hospital or a person.")
    by_name: bool = Field(default=False, description="Only the participants see the case, not their whole hospital.")
    participants: list[Participant] = Field(default=[], description="Who has a part by name.")
    parent_id: str = Field(default="", description="The case that this one escalates; empty: none.")
    overdue: bool = Field(default=False, description="A time limit has passed.")
    critical: bool = Field(default=False, description="The report holds a critical value.")


class ConsultSubmitted(ConsultEvent):
    """A doctor asks another hospital for its opinion, for the first time or with what was missing."""


class ConsultReturned(ConsultEvent):
    """The hospital that was asked needs more data; its time limits pause. Why stands in the case."""


class ConsultAccepted(ConsultEvent):
    """The hospital that was asked takes the case."""


class ConsultAssigned(ConsultEvent):
    """An expert has the case: claimed it, or was assigned."""

    previous_expert: str = Field(default="", description="Who had it before; empty: nobody.")


class ConsultReleased(ConsultEvent):
    """The expert gives the case back to their hospital."""

    previous_expert: str = Field(description="Who had it.")


class ConsultReadingStarted(ConsultEvent):
    """The expert reads."""


class ConsultReportDrafted(ConsultEvent):
    """The expert has begun to write; what, is theirs alone until it is issued."""


class ConsultReviewRequested(ConsultEvent):
    """The report waits for a second reader."""


class ConsultReviewDeclined(ConsultEvent):
    """The second reader gives the report back to its author."""

    reviewer: str = Field(description="User id of the second reader.")


class ConsultReviewApproved(ConsultEvent):
    """The second reader agrees."""

    reviewer: str = Field(description="User id of the second reader.")


class ConsultRejected(ConsultEvent):
    """The hospital that was asked declines. Why stands in the case: free text may name a person."""


class ConsultWithdrawn(ConsultEvent):
    """The applicant no longer needs the opinion."""


class ConsultEscalated(ConsultEvent):
    """The expert asks one level up; this case stays open."""

    child_id: str = Field(description="The case that was opened.")


class ConsultPanelChanged(ConsultEvent):
    """An expert was asked for an opinion in this case, or excused."""

    member: str = Field(description="User id of whom it concerns.")
    joined: bool = Field(description="Asked (true) or excused.")


class ConsultOpinionGiven(ConsultEvent):
    """An expert of the panel, or an escalated case, has given an opinion."""

    member: str = Field(description="User id of who gave it.")


class ConsultAcknowledged(ConsultEvent):
    """The applicant has read the report: the case ends."""


class ConsultAmendmentStarted(ConsultEvent):
    """The expert corrects an issued report; what was issued stays readable until the new version is."""


class ConsultCriticalAcknowledged(ConsultEvent):
    """The applicant's side confirms that it knows of the critical value and acts on it."""


class ConsultCommented(ConsultEvent):
    """Somebody wrote in the case's discussion; the text stays in the case. Not a transition: the version stays."""

    comment_id: str = Field(description="Id of the comment.")
    mentions: list[str] = Field(default=[], description="User ids of whom it addresses.")


class ConsultTimeLimit(ConsultEvent):
    """A time limit is near or has passed. Not a transition: the version stays."""

    limit: Literal["accept", "opinion", "report", "critical"] = Field(description="Which limit.")
    step: Literal["reminder", "overdue", "escalated"] = Field(description="Before it, at it, or after it.")
    due_at: datetime = Field(description="The limit, UTC.")


class ReportIssued(ConsultEvent):
    """The expert's report is final and can be read."""

    report_id: str = Field(description="Id of the report.")
    report_version: int = Field(ge=1, description="1 for the first issue.")


class ReportAmended(ConsultEvent):
    """A new version of an issued report."""

    report_id: str = Field(description="Id of the report.")
    report_version: int = Field(ge=2, description="Counts the versions.")


class ReportDelivered(ConsultEvent):
    """The report lies in the applicant hospital's PACS, or could not be brought there. Not a transition."""

    report_id: str = Field(description="Id of the report.")
    report_version: int = Field(ge=1, description="Counts the versions.")
    outcome: Literal["stored", "failed"] = Field(description="What the PACS said.")


CONSULT_EVENTS: tuple[type[ConsultEvent], ...] = (
    ConsultSubmitted,
    ConsultReturned,
    ConsultAccepted,
    ConsultAssigned,
    ConsultReleased,
    ConsultReadingStarted,
    ConsultReportDrafted,
    ConsultReviewRequested,
    ConsultReviewDeclined,
    ConsultReviewApproved,
    ConsultRejected,
    ConsultWithdrawn,
    ConsultEscalated,
    ConsultPanelChanged,
    ConsultOpinionGiven,
    ConsultAcknowledged,
    ConsultAmendmentStarted,
    ConsultCriticalAcknowledged,
    ConsultCommented,
    ConsultTimeLimit,
)
"""On `consult-changed`."""
REPORT_EVENTS: tuple[type[ConsultEvent], ...] = (ReportIssued, ReportAmended, ReportDelivered)
"""On `report-changed`."""
