"""`decide` answers for one (study, holder); `visible_studies` is the same rule as a MongoDB clause for searches."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

IMAGE_ROLES = frozenset({"doctor", "expert"})
EDGE_ROLE = "edge-agent"
"""A hospital's edge agent, asking for the DICOM workstations of its hospital."""
CONSULT_ROLE = "consult-service"
"""The consult service itself, which prints and files issued reports: it sees the studies of those cases, by grants."""
LAUNCH_ROLE = "launch"
"""A window that an EHR opened: its session sees what its launch names, whoever sits before it."""
SHARE_ROLE = "share-link"
"""Somebody with a share link: the session sees what the link names."""
GRANT_ONLY_ROLES = frozenset({LAUNCH_ROLE, SHARE_ROLE})
"""Given by this portal, never by the identity provider; a token that claims one of them is refused."""


class Action(StrEnum):
    """What somebody wants to do with a study."""

    SEARCH = "search"
    VIEW = "view"


class GrantKind(StrEnum):
    """Why something that is not of the own hospital is open; in the order in which a reason is named."""

    CASE = "consult-grant"
    LAUNCH = "launch"
    SHARE = "share-link"
    BREAK_GLASS = "break-glass"


_KINDS = tuple(GrantKind)


@dataclass(frozen=True, slots=True)
class StudyRef:
    """A study at one holder: what access is decided on."""

    study_uid: str
    holder: str
    resident_id: str = field(default="", compare=False)
    """The resident it belongs to, where it is linked to one."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Opens one study at one holder, or every study of one resident, while it lasts; the store gives only such."""

    study: StudyRef | None
    grant_id: str
    """The case, launch, share link or break-glass act."""
    workstation: bool = False
    """The case allows the hospitals' workstations."""
    kind: GrantKind = GrantKind.CASE
    residents: frozenset[str] = frozenset()
    """All ids of the one resident whose studies it opens; empty when it names a study."""

    def opens(self, study: StudyRef) -> bool:
        """Whether it opens this study at this holder."""
        return self.study == study or bool(study.resident_id and study.resident_id in self.residents)


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks: from the verified token or the session, and the grants that hold now."""

    user: str
    hospital: str
    """Empty for who sees by grants alone: sessions of launches and share links."""
    roles: frozenset[str]
    grants: tuple[Grant, ...] = field(default=())
    session: str = field(default="", compare=False)
    """Names the session in the audit record; of no use to sign in."""
    purpose: str = field(default="", compare=False)
    """Why they look, as a launch or a break-glass act stated it (HL7 PurposeOfUse)."""
    source: str = field(default="", compare=False)
    """Where they ask from: an edge agent's AE title."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, and the name of the reason, as the audit record keeps it."""

    allowed: bool
    reason: str
    grant_id: str = ""
    """The grant that allowed it, where one did."""


def decide(subject: Subject, action: Action, study: StudyRef) -> Decision:
    """Decide on one study at one holder.

    Allowed: a doctor or expert for the studies of their own hospital, and for what a grant opens to them: a consult
    they are part of (at the holder the case names), the record of a resident that the EHR opened for them, or that
    they opened by break-glass; a session of a launch or a share link for what that names and nothing else; an edge
    agent for the studies of its own hospital, and for those of consults that allow workstations; the consult service
    for those of cases whose report was just issued. Everything else is denied; the caller answers 404.
    """
    if not _may_see_images(subject):
        return Decision(False, "role-without-images")
    if _own(subject) == study.holder and study.holder:
        return Decision(True, "own-hospital")
    opening = [grant for grant in _grants(subject) if grant.opens(study)]
    if not opening:
        return Decision(False, "no-grant")
    first = min(opening, key=lambda grant: _KINDS.index(grant.kind))
    return Decision(True, "consult-workstation" if _is_edge(subject) else first.kind.value, first.grant_id)


def visible_studies(subject: Subject) -> dict[str, Any]:
    """The MongoDB clause that matches exactly the documents of `index.studies` that `decide` allows."""
    if not _may_see_images(subject):
        return {"_id": {"$in": []}}
    grants = _grants(subject)
    ids = [f"{grant.study.holder}/{grant.study.study_uid}" for grant in grants if grant.study is not None]
    residents = sorted({resident for grant in grants for resident in grant.residents if resident})
    hospital = _own(subject)
    ways: list[dict[str, Any]] = [{"holder": hospital}] if hospital else []
    if residents:
        ways.append({"resident_id": {"$in": residents}})
    return {"$or": [*ways, {"_id": {"$in": ids}}]}


def _own(subject: Subject) -> str:
    """The hospital whose studies the subject sees without a grant."""
    return "" if subject.roles & (GRANT_ONLY_ROLES | {CONSULT_ROLE}) else subject.hospital


def _is_edge(subject: Subject) -> bool:
    """Whether an edge agent asks; a person's role goes before it."""
    return EDGE_ROLE in subject.roles and not subject.roles & (IMAGE_ROLES | GRANT_ONLY_ROLES)


def _may_see_images(subject: Subject) -> bool:
    return bool(subject.roles & (IMAGE_ROLES | GRANT_ONLY_ROLES | {CONSULT_ROLE})) or _is_edge(subject)


def _grants(subject: Subject) -> list[Grant]:
    """The grants that count for this subject."""
    return [grant for grant in subject.grants if grant.workstation or not _is_edge(subject)]
