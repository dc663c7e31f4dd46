"""Events of the consultation workflow: one per transition. They name people by user id only, never patients."""

from datetime import datetime

from pydantic import Field

from imaging_common.events.base import Event, Version
from imaging_common.ids import HospitalId, Uid


class StudyReference(Event):
    """A study of a case, at one holder."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    holder: HospitalId = Field(description="The hospital that holds it.")


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


class ConsultSubmitted(ConsultEvent):
    """A doctor asks another hospital for its opinion."""


class ConsultAccepted(ConsultEvent):
    """An expert takes the case."""


class ConsultRejected(ConsultEvent):
    """The hospital that was asked declines. Why stands in the case: free text may name a person."""


class ConsultWithdrawn(ConsultEvent):
    """The applicant no longer needs the opinion."""


class ConsultAcknowledged(ConsultEvent):
    """The applicant has read the report: the case ends."""


class ReportIssued(ConsultEvent):
    """The expert's report is final and can be read."""

    report_id: str = Field(description="Id of the report.")
    report_version: int = Field(ge=1, description="1 for the first issue.")


class ReportAmended(ConsultEvent):
    """A new version of an issued report."""

    report_id: str = Field(description="Id of the report.")
    report_version: int = Field(ge=2, description="Counts the versions.")


CONSULT_EVENTS: tuple[type[ConsultEvent], ...] = (
    ConsultSubmitted,
    ConsultAccepted,
    ConsultRejected,
    ConsultWithdrawn,
    ConsultAcknowledged,
)
