"""Who has which part in a case, and what of it they see: by what their token says now. Pure."""

from enum import StrEnum

from consult.model.case import Consult
from consult.model.states import ENDED, Role, State
from imaging_common.access import GRANT_ONLY_ROLES
from imaging_common.auth import Claims

EXPERT_ROLE = "expert"
DOCTOR_ROLE = "doctor"
COORDINATOR_ROLE = "coordinator"
CHILD_APPLICANTS = frozenset({DOCTOR_ROLE, EXPERT_ROLE, COORDINATOR_ROLE})
"""Who of the escalating hospital can stand as the applicant of the case one level up."""
REVIEWED = frozenset({State.IN_REVIEW, State.APPROVED})


class Box(StrEnum):
    """The lists of cases that somebody has."""

    SENT = "sent"
    """Of the own hospital."""
    RECEIVED = "received"
    """Asked of the own hospital."""
    MINE = "mine"
    """The asker is the expert."""
    REVIEW = "review"
    """Waiting for a second reader."""
    DRAFTS = "drafts"
    """Applications the asker is writing."""
    PANEL = "panel"
    """The asker is asked for an opinion beside."""


def is_person(claims: Claims) -> bool:
    """Somebody with an account of a hospital: a share link or an EHR's window has no part in a case."""
    return bool(claims.user and claims.hospital) and not claims.roles & GRANT_ONLY_ROLES


def was_submitted(consult: Consult) -> bool:
    """Whether anybody but the applicant knows of it."""
    return consult.state is not State.DRAFT and consult.submitted_at is not None


def roles_of(consult: Consult, claims: Claims) -> frozenset[Role]:
    """Every part this person has in the case now."""
    if not is_person(claims):
        return frozenset()
    roles = _applicants_side(consult, claims)
    if was_submitted(consult):
        roles |= _asked_side(consult, claims)
    return frozenset(roles)


def _applicants_side(consult: Consult, claims: Claims) -> set[Role]:
    if claims.hospital != consult.applicant_hospital:
        return set()
    if claims.user == consult.applicant:
        fitting = CHILD_APPLICANTS if consult.parent_id else {DOCTOR_ROLE}
        return {Role.APPLICANT, Role.APPLICANT_SIDE} if claims.roles & fitting else set()
    return {Role.APPLICANT_SIDE} if DOCTOR_ROLE in claims.roles and was_submitted(consult) else set()


def _asked_side(consult: Consult, claims: Claims) -> set[Role]:
    roles = set()
    of_hospital = claims.hospital == consult.consultant_hospital
    if of_hospital and COORDINATOR_ROLE in claims.roles and not consult.by_name:
        roles.add(Role.COORDINATOR)
    if EXPERT_ROLE not in claims.roles:
        return roles
    if of_hospital and (not consult.by_name or claims.user in (consult.nominee, consult.expert)):
        roles.add(Role.CONSULTANT)
    if claims.user == consult.expert and claims.hospital == consult.expert_hospital:
        roles.add(Role.EXPERT)
    if consult.state not in ENDED and any(
        member.user == claims.user and member.hospital == claims.hospital and not member.excused
        for member in consult.panel
    ):
        roles.add(Role.PANEL)
    if _is_second_reader(consult, claims):
        roles.add(Role.SECOND_READER)
    return roles


def _is_second_reader(consult: Consult, claims: Claims) -> bool:
    """An expert of the hospital that was asked, never the report's author; the named one where one is named."""
    if claims.hospital != consult.consultant_hospital or claims.user == consult.expert:
        return False
    if consult.reviewer:
        return claims.user == consult.reviewer
    return not consult.by_name


def may_see(consult: Consult, claims: Claims) -> bool:
    """Whether the case exists for this person."""
    return bool(roles_of(consult, claims))


def in_box(consult: Consult, claims: Claims, box: Box) -> bool:
    """Whether a case is in somebody's box; each is a part of what `may_see` lets them see."""
    roles = roles_of(consult, claims)
    if box is Box.DRAFTS:
        return consult.state is State.DRAFT and Role.APPLICANT in roles
    if not was_submitted(consult):
        return False
    match box:
        case Box.SENT:
            return Role.APPLICANT_SIDE in roles
        case Box.RECEIVED:
            return bool(roles & {Role.CONSULTANT, Role.COORDINATOR})
        case Box.MINE:
            return Role.EXPERT in roles
        case Box.REVIEW:
            return consult.state is State.IN_REVIEW and Role.SECOND_READER in roles
        case _:
            return Role.PANEL in roles


def seen_by(consult: Consult, claims: Claims) -> Consult:
    """The case as this person sees it: a report that is not issued is nobody's but its author's."""
    report = consult.report
    if report is None or report.issued_at is not None or report.author == claims.user:
        return consult
    return consult.model_copy(update={"report": None})


def participants(consult: Consult) -> list[dict[str, str]]:
    """Who has a part by name, as events tell it."""
    found: list[dict[str, str]] = []
    if consult.expert:
        found.append({"user": consult.expert, "hospital": consult.expert_hospital, "part": "expert"})
    if consult.nominee and consult.consultant_hospital:
        found.append({"user": consult.nominee, "hospital": consult.consultant_hospital, "part": "nominee"})
    found += [
        {"user": member.user, "hospital": member.hospital, "part": "panel"}
        for member in consult.panel
        if not member.excused
    ]
    if consult.reviewer:
        found.append({"user": consult.reviewer, "hospital": consult.consultant_hospital, "part": "reviewer"})
    return found
