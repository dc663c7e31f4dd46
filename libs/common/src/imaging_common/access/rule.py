"""`decide` answers for one (study, holder); `visible_studies` is the same rule as a MongoDB clause for searches."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

IMAGE_ROLES = frozenset({"doctor", "expert"})
EDGE_ROLE = "edge-agent"
"""A hospital's edge agent, asking for the DICOM workstations of its hospital."""


class Action(StrEnum):
    """What somebody wants to do with a study."""

    SEARCH = "search"
    VIEW = "view"


@dataclass(frozen=True, slots=True)
class StudyRef:
    """A study at one holder: what access is decided on."""

    study_uid: str
    holder: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A case opens one study at one holder to one hospital's experts while the case is open."""

    study: StudyRef
    case_id: str
    workstation: bool = False
    """The case allows the hospitals' workstations."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks: from the verified token, and the grants that hold now."""

    user: str
    hospital: str
    roles: frozenset[str]
    grants: tuple[Grant, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, and the name of the reason, as the audit record keeps it."""

    allowed: bool
    reason: str


def decide(subject: Subject, action: Action, study: StudyRef) -> Decision:
    """Decide on one study at one holder.

    Allowed: a doctor or expert for the studies of their own hospital, and for the studies of consults they are part
    of, at the holder the case names; an edge agent for the studies of its own hospital, and for those of consults that
    allow workstations. Everything else is denied; the caller answers 404.
    """
    if not _may_see_images(subject):
        return Decision(False, "role-without-images")
    if subject.hospital and subject.hospital == study.holder:
        return Decision(True, "own-hospital")
    if any(grant.study == study for grant in _grants(subject)):
        return Decision(True, "consult-workstation" if _is_edge(subject) else "consult-grant")
    return Decision(False, "no-grant")


def visible_studies(subject: Subject) -> dict[str, Any]:
    """The MongoDB clause that matches exactly the documents of `index.studies` that `decide` allows."""
    if not _may_see_images(subject):
        return {"_id": {"$in": []}}
    ids = [f"{grant.study.holder}/{grant.study.study_uid}" for grant in _grants(subject)]
    own: list[dict[str, Any]] = [{"holder": subject.hospital}] if subject.hospital else []
    return {"$or": [*own, {"_id": {"$in": ids}}]}


def _is_edge(subject: Subject) -> bool:
    """Whether an edge agent asks; a person's role goes before it."""
    return EDGE_ROLE in subject.roles and not subject.roles & IMAGE_ROLES


def _may_see_images(subject: Subject) -> bool:
    return bool(subject.roles & IMAGE_ROLES) or _is_edge(subject)


def _grants(subject: Subject) -> list[Grant]:
    """The grants that count for this subject."""
    return [grant for grant in subject.grants if grant.workstation or not _is_edge(subject)]
