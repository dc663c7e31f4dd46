"""Rules without I/O: the registry's entries, sessions, case grants, who is told what."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from gateway.cases import hears_of
from imaging_common.access import Action, StudyRef, Subject, decide
from imaging_common.auth import Claims
from imaging_common.events import (
    AccessGranted,
    ConsultEvent,
    HospitalRegistered,
    NoticeRaised,
    NoticeSeen,
    OrderPlaced,
    StudyChanged,
)
from imaging_common.ids import HospitalId
from imaging_common.index.model import StudyDocument


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


@dataclass(frozen=True, slots=True)
class KeptNotice:
    """A notice, and since when the portal has it: by that the stream of an open page is continued."""

    notice: NoticeRaised
    kept_at: datetime


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
        return ["consults", f"consult-{event.consult_id}"] if hears_of(subject, event) else []
    if isinstance(event, NoticeSeen):
        return ["notices"] if event.user == subject.user else []
    if isinstance(event, KeptNotice):
        return tells(subject, event.notice)
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
