"""Rules without I/O: the registry's entries, sessions, case grants, who is told what."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from imaging_common.access import Action, Grant, StudyRef, Subject, decide
from imaging_common.auth import Claims
from imaging_common.events import (
    AccessGranted,
    ConsultAcknowledged,
    ConsultEvent,
    ConsultRejected,
    ConsultWithdrawn,
    HospitalRegistered,
    NoticeRaised,
    OrderPlaced,
    StudyChanged,
    Version,
)
from imaging_common.ids import HospitalId
from imaging_common.index.model import StudyDocument

ENDING = (ConsultRejected, ConsultWithdrawn, ConsultAcknowledged)
"""The transitions that end a case, and with it the access it gave."""


class HospitalEntry(BaseModel):
    """One hospital of the registry, as the operator writes it."""

    model_config = ConfigDict(extra="forbid")

    hospital: HospitalId
    revision: int = Field(default=1, ge=1)
    name_zh: str
    name_en: str
    level: Literal["community", "secondary", "tertiary", "outside"]
    tier: Literal["distributed", "central"]
    compression: Literal["htj2k", "keep"] = "htj2k"
    cache_weight: float = Field(default=1.0, gt=0)
    """Its share of the cache tier's quota, against the other hospitals' weights."""
    retention_days: int = Field(default=30, ge=1)
    """Days in which a deletion in the central tier can be undone."""
    legal_hold: bool = False
    """Nothing of this hospital is deleted while it holds."""

    def event(self) -> HospitalRegistered:
        """The public statement about this hospital."""
        return HospitalRegistered(**self.model_dump())

    def name(self, language: str) -> str:
        """Its name in one of the portal's languages."""
        return self.name_zh if language == "zh" else self.name_en


def parse_hospitals(text: str) -> list[HospitalEntry]:
    """The entries of a registry file."""
    return TypeAdapter(list[HospitalEntry]).validate_python(json.loads(text))


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the provider gave; never leaves the server."""

    access: str
    refresh: str
    id: str


SessionKind = Literal["portal", "launch", "share"]


@dataclass(frozen=True, slots=True)
class ProviderLogout:
    """Whose sessions the provider has ended: the one `sid` names, else all of `sub`."""

    sid: str
    sub: str


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that was ended, for the record."""

    user: str
    hospital: str
    roles: frozenset[str] = frozenset()
    session: str = ""
    """Its name in the record."""


@dataclass(slots=True)
class Session:
    """One signed-in browser. `key` is the digest of the cookie's value."""

    key: str
    claims: Claims
    tokens: Tokens
    access_expires_at: float
    """Unix time."""
    csrf: str
    search: dict[str, str] = field(default_factory=dict)
    """The study list's last search, so that it is still there after a look at images."""
    kind: SessionKind = "portal"
    """`launch` and `share` are windows: they see what their grant names, and no page of the portal but the viewer's."""
    grant_id: str = ""
    """The grant of a window."""
    purpose: str = ""
    """Why a window was opened."""
    joined: tuple[str, ...] = ()
    """Share links that were opened in a portal session: they are the person's while it lasts."""
    sid: str = ""
    """The provider's session and subject (ID token `sid`, `sub`), by which it ends this one."""
    sub: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sent a request, and by which means; `session` is None for a bearer token."""

    claims: Claims
    session: Session | None = None


class CaseGrant(BaseModel):
    """What one consult opens, to whom, as of one version."""

    consult_id: str
    version: Version
    open: bool
    applicant: str
    applicant_hospital: str
    consultant_hospital: str
    studies: list[StudyRef]
    workstation: bool = False
    """The case allows both hospitals' workstations."""
    ended_at: datetime | None = None


def grant_of(event: ConsultEvent, applicant_grants: tuple[Grant, ...]) -> CaseGrant:
    """The grant that a transition leaves behind.

    A case can open only what its applicant may see: the applicant's hospital's studies, or those of a case that is
    open to the applicant now. Whoever names another hospital's study gains nothing.
    """
    applicant = Subject(event.applicant, event.applicant_hospital, frozenset({"doctor"}), applicant_grants)
    named = [StudyRef(study.study_uid, study.holder) for study in event.studies]
    ended = isinstance(event, ENDING)
    return CaseGrant(
        consult_id=event.consult_id,
        version=event.version,
        open=not ended,
        applicant=event.applicant,
        applicant_hospital=event.applicant_hospital,
        consultant_hospital=event.consultant_hospital,
        workstation=event.workstation,
        studies=[study for study in named if decide(applicant, Action.VIEW, study).allowed],
        ended_at=event.at if ended else None,
    )


def grants_from(cases: list[CaseGrant]) -> tuple[Grant, ...]:
    """The access rule's grants of open cases."""
    opened = [case for case in cases if case.open]
    return tuple(
        Grant(study, case.consult_id, workstation=case.workstation) for case in opened for study in case.studies
    )


def study_ref(document: StudyDocument) -> StudyRef:
    """What access to this study at this holder is decided on."""
    return StudyRef(document.study_uid, document.holder, document.resident_id or "")


def may_view(subject: Subject, document: StudyDocument) -> bool:
    """Whether the access rule opens it to the subject."""
    return decide(subject, Action.VIEW, study_ref(document)).allowed


@dataclass(frozen=True, slots=True)
class RetrievalMoved:
    """A retrieval of this study is further, or has ended."""

    study_uid: str
    holder: str


@dataclass(frozen=True, slots=True)
class HolderTurned:
    """A hospital can be asked again, or cannot be asked any more."""

    holder: str


@dataclass(frozen=True, slots=True)
class EdgeSpoke:
    """A hospital's edge agent gave a sign of life, fell silent, or answered a test: its operators' pages look again."""

    hospital: str


def recipients_of(claims: Claims) -> list[str]:
    """The names under which a person is told things (`NoticeRaised.recipient`)."""
    roles = sorted(claims.roles)
    region = [f"region:{role}" for role in roles]
    return [f"user:{claims.user}", *(f"hospital:{claims.hospital}:{role}" for role in roles), *region]


def tells(subject: Subject, event: Any) -> list[str]:
    """The names of the page events by which this person's open pages learn of `event`; empty: not theirs to know."""
    if isinstance(event, StudyChanged):
        ref = StudyRef(event.study_uid, event.holder, event.resident_id or "")
        operates = "region-operator" in subject.roles or (
            "hospital-operator" in subject.roles and subject.hospital == event.holder
        )
        return ["studies"] * decide(subject, Action.SEARCH, ref).allowed + ["residents"] * operates
    if isinstance(event, RetrievalMoved):
        ref = StudyRef(event.study_uid, event.holder)
        return ["progress"] if decide(subject, Action.SEARCH, ref).allowed else []
    if isinstance(event, HolderTurned):
        return ["studies"]
    if isinstance(event, AccessGranted):
        return ["studies", "glass"] if event.user and event.user == subject.user else []
    if isinstance(event, EdgeSpoke):
        own = "hospital-operator" in subject.roles and subject.hospital == event.hospital
        return ["hospitals", f"hospital-{event.hospital}"] if own or "region-operator" in subject.roles else []
    if isinstance(event, ConsultEvent):
        party = subject.hospital and subject.hospital in (event.applicant_hospital, event.consultant_hospital)
        return ["consults", f"consult-{event.consult_id}"] if party else []
    if isinstance(event, NoticeRaised):
        mine = recipients_of(Claims(subject.user, subject.hospital, subject.roles))
        return ["notices"] if event.recipient in mine else []
    return []


class Order(BaseModel):
    """An imaging order of one hospital, as it was placed; `cancelled` once it was taken back."""

    hospital: HospitalId
    placed_by: str
    order: OrderPlaced
    cancelled: bool = False


class StudyCommands(BaseModel):
    """What operators ordered about a study of the central tier; `revision` counts the commands."""

    study_uid: str
    holder: HospitalId
    revision: int = 0
    deleted: bool = False
    purge_after: datetime | None = None
    held: bool = False
