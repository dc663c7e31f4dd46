"""The consultation workflow: states, transitions, and who may make them. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from imaging_common.auth import Claims
from imaging_common.ids import HospitalId, Uid


class State(StrEnum):
    """Where a consult is."""

    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    DRAFTED = "drafted"
    ISSUED = "issued"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Action(StrEnum):
    """What somebody does to a consult."""

    SUBMIT = "submit"
    ACCEPT = "accept"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    DRAFT = "draft"
    ISSUE = "issue"
    ACKNOWLEDGE = "acknowledge"


class Role(StrEnum):
    """The part a person has in a case."""

    APPLICANT = "applicant"
    CONSULTANT = "consultant"
    """An expert of the hospital that was asked, while nobody has taken the case."""
    EXPERT = "expert"
    """The expert who took it."""


@dataclass(frozen=True, slots=True)
class Transition:
    """From these states, by this role, to that state."""

    sources: frozenset[State]
    role: Role
    target: State


TRANSITIONS: dict[Action, Transition] = {
    Action.ACCEPT: Transition(frozenset({State.SUBMITTED}), Role.CONSULTANT, State.ACCEPTED),
    Action.REJECT: Transition(frozenset({State.SUBMITTED}), Role.CONSULTANT, State.REJECTED),
    Action.WITHDRAW: Transition(
        frozenset({State.SUBMITTED, State.ACCEPTED, State.DRAFTED}), Role.APPLICANT, State.WITHDRAWN
    ),
    Action.DRAFT: Transition(frozenset({State.ACCEPTED, State.DRAFTED}), Role.EXPERT, State.DRAFTED),
    Action.ISSUE: Transition(frozenset({State.DRAFTED}), Role.EXPERT, State.ISSUED),
    Action.ACKNOWLEDGE: Transition(frozenset({State.ISSUED}), Role.APPLICANT, State.ACKNOWLEDGED),
}
ENDED = frozenset({State.REJECTED, State.WITHDRAWN, State.ACKNOWLEDGED})
"""States in which the case's access to the images has ended."""


CONSULT_ID = re.compile(r"[0-9a-f]{32}")
"""What the service gives as ids; anything else is no consult, and is not written anywhere."""
Purpose = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]


class Study(BaseModel):
    """A study of the case, at the holder that the applicant named."""

    model_config = ConfigDict(frozen=True)

    study_uid: Uid
    holder: HospitalId


class Application(BaseModel):
    """What the applicant writes."""

    consultant_hospital: HospitalId
    studies: list[Study] = Field(min_length=1, max_length=50)
    purpose: Purpose
    clinical_info: str = Field(default="", max_length=8000)
    urgency: Literal["routine", "urgent", "emergency"] = "routine"
    workstation: bool = False
    """Both hospitals' DICOM workstations may have the images while the case is open."""

    @field_validator("studies")
    @classmethod
    def _each_once(cls, studies: list[Study]) -> list[Study]:
        return list(dict.fromkeys(studies))


class ReportText(BaseModel):
    """What the expert writes."""

    findings: str = Field(default="", max_length=20000)
    impression: str = Field(default="", max_length=8000)
    positive: bool = False


class Report(ReportText):
    """The expert's opinion; `issued_at` is set once it is final, and from then on it does not change."""

    id: str
    author: str
    author_name: str
    version: int = 1
    issued_at: datetime | None = None


class Step(BaseModel):
    """One entry of the case's timeline."""

    at: datetime
    user: str
    name: str
    action: Action
    state: State
    reason: str = ""


class Consult(BaseModel):
    """One case."""

    id: str
    number: str
    version: int
    state: State
    applicant: str
    applicant_name: str
    applicant_hospital: str
    consultant_hospital: str
    expert: str | None = None
    expert_name: str | None = None
    studies: list[Study]
    purpose: str
    clinical_info: str
    urgency: str
    workstation: bool = False
    timeline: list[Step]
    report: Report | None = None

    def application(self) -> Application:
        """What the applicant wrote."""
        return Application.model_validate(self.model_dump(include=set(Application.model_fields)))

    def seen_by(self, user: str) -> "Consult":
        """The case as this person sees it: a report that is not issued is its author's alone, in every state."""
        if self.report is None or self.report.issued_at is not None or self.report.author == user:
            return self
        return self.model_copy(update={"report": None})


def may_see(consult: Consult, claims: Claims) -> bool:
    """The doctors of the applicant's hospital, and the experts of the hospital that was asked."""
    if claims.hospital == consult.applicant_hospital and "doctor" in claims.roles:
        return True
    return claims.hospital == consult.consultant_hospital and "expert" in claims.roles


def has_role(consult: Consult, role: Role, claims: Claims) -> bool:
    """Whether a person has this part in the case, by what their token says now."""
    if role is Role.APPLICANT:
        is_doctor = claims.hospital == consult.applicant_hospital and "doctor" in claims.roles
        return is_doctor and claims.user == consult.applicant
    is_expert = claims.hospital == consult.consultant_hospital and "expert" in claims.roles
    return is_expert and (role is Role.CONSULTANT or claims.user == consult.expert)


def may_apply(claims: Claims, application: Application) -> str | None:
    """Why a person may not apply for this; None when they may. They send only what their own hospital holds."""
    if "doctor" not in claims.roles or not claims.hospital:
        return "only a doctor of a hospital can apply for a consult"
    if application.consultant_hospital == claims.hospital:
        return "choose another hospital than your own"
    if any(study.holder != claims.hospital for study in application.studies):
        return "a study of another hospital cannot be sent with this application"
    return None
