"""What a consult opens, to whom, and which open pages hear of it. Pure; the order of parent and child does not matter.

A case opens of the studies it names those of its applicant's hospital, and, when it was escalated, those that the case
one level down opens now: whoever names another hospital's study gains nothing by it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from pydantic import BaseModel

from imaging_common.access import Grant, StudyRef, Subject
from imaging_common.auth import Claims
from imaging_common.events import (
    CONSULT_EVENTS,
    REPORT_EVENTS,
    ConsultAcknowledged,
    ConsultCommented,
    ConsultEvent,
    ConsultRejected,
    ConsultTimeLimit,
    ConsultWithdrawn,
    ReportAmended,
    ReportDelivered,
    ReportIssued,
    Version,
)

ENDING = (ConsultRejected, ConsultWithdrawn, ConsultAcknowledged)
"""The transitions that end a case, and with it the access it gave."""
CLOSED_STATES = frozenset({"draft", "rejected", "withdrawn", "acknowledged"})
"""States in which a case opens nothing, whatever else happens to it (a critical value confirmed late)."""
BESIDE = (ConsultCommented, ConsultTimeLimit, ReportDelivered)
"""Not transitions: they carry the version of the last one and change nobody's access."""
TRANSITIONS = tuple(event for event in (*CONSULT_EVENTS, *REPORT_EVENTS) if event not in BESIDE)
LEVELS = 4
"""So often a case is escalated at most."""


class CaseParty(BaseModel):
    """Somebody who has a part in the case by name."""

    user: str
    hospital: str


class CaseGrant(BaseModel):
    """What one consult opens, to whom, as of one version. Documents of before escalation lack the later fields."""

    consult_id: str
    version: Version
    open: bool
    applicant: str
    applicant_hospital: str
    consultant_hospital: str
    studies: list[StudyRef]
    """Those of the applicant's hospital."""
    workstation: bool = False
    """The case allows both hospitals' workstations."""
    ended_at: datetime | None = None
    by_name: bool = False
    """At the hospital that was asked only the parties see it."""
    parties: list[CaseParty] = []
    """Experts, panel members and second readers by name, of any hospital."""
    parent_id: str = ""
    named: list[StudyRef] = []
    """Other hospitals' studies: open while the case one level down opens them."""
    issued_at: datetime | None = None
    """When its last report was issued: for a while after that the consult service may see its studies, to file it."""


def grant_of(event: ConsultEvent) -> CaseGrant:
    """The grant that a transition leaves behind."""
    ended = isinstance(event, ENDING) or event.state in CLOSED_STATES
    named = [StudyRef(study.study_uid, study.holder) for study in event.studies]
    return CaseGrant(
        consult_id=event.consult_id,
        version=event.version,
        open=not ended,
        applicant=event.applicant,
        applicant_hospital=event.applicant_hospital,
        consultant_hospital=event.consultant_hospital,
        workstation=event.workstation,
        studies=[study for study in named if study.holder == event.applicant_hospital],
        named=[study for study in named if study.holder != event.applicant_hospital],
        ended_at=event.at if ended else None,
        by_name=event.by_name,
        parties=[CaseParty(user=one.user, hospital=one.hospital) for one in event.participants],
        parent_id=event.parent_id,
        issued_at=event.at if isinstance(event, ReportIssued | ReportAmended) else None,
    )


def takes_part(case: CaseGrant, claims: Claims) -> bool:
    """Whether this person's images of the case are open to them; `MongoGrants.of_person` asks the same of its store."""
    if (claims.user, claims.hospital) == (case.applicant, case.applicant_hospital):
        return True
    if any((one.user, one.hospital) == (claims.user, claims.hospital) for one in case.parties):
        return True
    if not claims.hospital:
        return False
    asked = claims.hospital == case.consultant_hospital and "expert" in claims.roles and not case.by_name
    return asked or (claims.hospital == case.applicant_hospital and "doctor" in claims.roles)


def parents_of(cases: Iterable[CaseGrant], known: Mapping[str, CaseGrant]) -> set[str]:
    """Ids of the cases one level down that still have to be looked up to know what these open."""
    return {case.parent_id for case in cases if case.named and case.parent_id} - known.keys()


def opened_by(case: CaseGrant, known: Mapping[str, CaseGrant], levels: int = LEVELS) -> list[StudyRef]:
    """The studies a case opens now; `known` holds the cases it escalates, by id."""
    if not case.open:
        return []
    parent = known.get(case.parent_id) if case.parent_id and levels else None
    if parent is None or parent.consultant_hospital != case.applicant_hospital:
        return list(case.studies)
    below = set(opened_by(parent, known, levels - 1))
    return [*case.studies, *(study for study in case.named if study in below)]


def resolved(cases: Iterable[CaseGrant], known: Mapping[str, CaseGrant]) -> list[CaseGrant]:
    """The cases with everything they open among their `studies`."""
    return [case.model_copy(update={"studies": opened_by(case, known)}) for case in cases]


def reopened(cases: Iterable[CaseGrant]) -> list[CaseGrant]:
    """The cases as they were before they ended: for the consult service, which files what was issued."""
    return [case.model_copy(update={"open": True}) for case in cases]


def grants_from(cases: list[CaseGrant]) -> tuple[Grant, ...]:
    """The access rule's grants of open cases."""
    opened = [case for case in cases if case.open]
    return tuple(
        Grant(study, case.consult_id, workstation=case.workstation) for case in opened for study in case.studies
    )


def hears_of(subject: Subject, event: ConsultEvent) -> bool:
    """Whether this person's pages show the case: a draft its applicant's alone, otherwise its parties'."""
    if subject.user == event.applicant and subject.hospital == event.applicant_hospital:
        return True
    if event.state == "draft" or not subject.hospital:
        return False
    left = {getattr(event, "previous_expert", ""), getattr(event, "member", "")} - {""}
    if subject.user in {event.expert, *left, *(one.user for one in event.participants)}:
        return True
    if subject.hospital == event.applicant_hospital:
        return "doctor" in subject.roles
    asked = subject.hospital == event.consultant_hospital and not event.by_name
    return asked and bool(subject.roles & {"expert", "coordinator"})
