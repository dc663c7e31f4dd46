"""`decide` answers for one (study, holder); `visible_studies` is the same rule as a MongoDB clause for searches."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

IMAGE_ROLES = frozenset({"doctor", "expert"})


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
    of, at the holder the case names. Everything else is denied; the caller answers 404.
    """
    if not subject.roles & IMAGE_ROLES:
        return Decision(False, "role-without-images")
    if subject.hospital and subject.hospital == study.holder:
        return Decision(True, "own-hospital")
    if any(grant.study == study for grant in subject.grants):
        return Decision(True, "consult-grant")
    return Decision(False, "no-grant")


def visible_studies(subject: Subject) -> dict[str, Any]:
    """The MongoDB clause that matches exactly the documents of `index.studies` that `decide` allows."""
    if not subject.roles & IMAGE_ROLES:
        return {"_id": {"$in": []}}
    ids = [f"{grant.study.holder}/{grant.study.study_uid}" for grant in subject.grants]
    own: list[dict[str, Any]] = [{"holder": subject.hospital}] if subject.hospital else []
    return {"$or": [*own, {"_id": {"$in": ids}}]}
