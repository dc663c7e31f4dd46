"""An invitation: who may give one, and what it opens. Pure."""

import hashlib
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, StringConstraints

from consult.errors import InvalidConsult, NotAllowed
from consult.model import TRANSITIONS, Action, Consult, Role, State, roles_of
from consult.model.order import Words
from consult.model.rules import level_above
from consult.routing.model import OUTSIDE
from imaging_common.auth import Claims

_ADDRESS = re.compile(r"[^\s@<>()\[\],:;\\\"]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)+", re.ASCII)


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError("this is no e-mail address")
    return text


Email = Annotated[
    str, StringConstraints(strip_whitespace=True, to_lower=True, max_length=254), AfterValidator(_address)
]
PersonName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^<>&\"\r\n]+$")
]


class Part(StrEnum):
    """What the invited expert is asked for."""

    OPINION = "opinion"
    """An opinion beside, as a member of the case's panel."""
    CASE = "case"
    """The case itself: one level up, as its named expert."""


class Invite(BaseModel):
    """Whom somebody invites; personal data, kept by the identity provider alone."""

    consult_id: Annotated[str, StringConstraints(max_length=64)]
    email: Email
    name: PersonName
    language: Literal["zh", "en"] = "zh"
    part: Part | None = None
    """None: the case where it can go out of the region from here, else an opinion."""
    question: Words = ""


class Invitation(BaseModel):
    """What became of it; the address itself is not kept."""

    id: str
    """Digest of case and address: the same again is the same invitation."""
    consult_id: str
    user: str
    case_id: str
    """The case they see: this one, or the one it was escalated to."""
    by: str
    at: datetime
    due_at: datetime | None = None
    """When an e-mail is to be sent; None: it was, none is needed, or the case is not submitted yet."""
    mailed_at: datetime | None = None
    """When the provider last took one; None: it has taken none."""


def digest_of(*parts: str) -> str:
    """Names something that is not written down itself."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def action_for(consult: Consult, claims: Claims, part: Part | None, level: str) -> Action | None:
    """The action that gives the invited expert their part; None: they become the named expert of a draft.

    Raises
    ------
    NotAllowed
        The case is not in this person's hands.
    InvalidConsult
        It does not go out of the region from here.
    """
    roles = roles_of(consult, claims)
    if consult.state is State.DRAFT and Role.APPLICANT in roles:
        return None
    leads_outside = level_above(level) == OUTSIDE if level else False
    wanted = part or (Part.CASE if leads_outside else Part.OPINION)
    action = Action.ESCALATE if wanted is Part.CASE else Action.ASK_PANEL
    if not roles & TRANSITIONS[action].roles:
        raise NotAllowed("only who has the case invites an expert to it")
    if consult.state not in TRANSITIONS[action].sources:
        raise InvalidConsult(f"nobody is invited to a case that is {consult.state}", ["consult_id"])
    if action is Action.ESCALATE and not leads_outside:
        raise InvalidConsult("a case goes one level up: from here it does not leave the region; ask for an opinion")
    return action
