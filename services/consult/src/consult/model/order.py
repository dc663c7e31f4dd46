"""What an action needs to be told beside its name."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from consult.model.application import Line, TargetKind
from imaging_common.ids import HospitalId

Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]


class Target(BaseModel):
    """To whom a case one level up goes."""

    target_kind: TargetKind = TargetKind.AUTO
    consultant_hospital: HospitalId | Literal[""] = ""
    department: Line = ""
    nominee: Line = ""
    subspecialty: Line = ""


class Order(BaseModel):
    """One action on the version the person saw, and what it needs."""

    version: int = Field(ge=1)
    reason: Words = ""
    expert: Line = ""
    """`assign`, `reassign`: user id of who gets the case."""
    expert_hospital: HospitalId | Literal[""] = ""
    """`assign`, `reassign`, `ask-panel`: the hospital this person is expected to be of."""
    member: Line = ""
    """`ask-panel`, `excuse-panel`: user id. `request-review`: the second reader who is asked; empty: any."""
    question: Words = ""
    """`ask-panel`: what they are asked."""
    opinion: Annotated[str, StringConstraints(strip_whitespace=True, max_length=8000)] = ""
    """`give-opinion`."""
    action_taken: Words = ""
    """`acknowledge-critical`: what is done about it."""
    target: Target | None = None
    """`escalate`; None: the right one, a level up."""
