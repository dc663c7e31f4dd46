"""The boxes of `model.parties.in_box` as MongoDB criteria: the same rule, for pages."""

from typing import Any

from consult.model import ENDED, Box, State, is_person
from consult.model.parties import COORDINATOR_ROLE, DOCTOR_ROLE, EXPERT_ROLE
from consult.ports import BoxQuery

Document = dict[str, Any]
SUBMITTED: Document = {"submitted_at": {"$ne": None}}


def criteria(query: BoxQuery) -> Document | None:
    """What a case of this box looks like; None: this person has no such box."""
    box = _box(query)
    if box is None:
        return None
    wanted: list[Document] = [box]
    if query.box is not Box.DRAFTS:
        wanted.append(SUBMITTED)
    for name, value in (("state", query.state), ("overdue", query.overdue), ("urgency", query.urgency)):
        if value is not None:
            wanted.append({name: value})
    return {"$and": wanted}


def _box(query: BoxQuery) -> Document | None:
    claims, user, hospital = query.claims, query.claims.user, query.claims.hospital
    if not is_person(claims):
        return None
    expert, coordinator = EXPERT_ROLE in claims.roles, COORDINATOR_ROLE in claims.roles
    doctor = DOCTOR_ROLE in claims.roles
    match query.box:
        case Box.DRAFTS:
            return {"applicant": user, "applicant_hospital": hospital, "state": State.DRAFT} if doctor else None
        case Box.SENT:
            if doctor:
                return {"applicant_hospital": hospital}
            child = {"applicant_hospital": hospital, "applicant": user, "parent_id": {"$ne": ""}}
            return child if expert or coordinator else None
        case Box.RECEIVED:
            ways: list[Document] = [{"by_name": False}] if expert or coordinator else []
            ways += [{"nominee": user}, {"expert": user}] if expert else []
            return {"consultant_hospital": hospital, "$or": ways} if ways else None
        case Box.MINE:
            return {"expert": user, "expert_hospital": hospital} if expert else None
        case Box.REVIEW:
            if not expert:
                return None
            asked = [{"reviewer": user}, {"reviewer": "", "by_name": False}]
            return {
                "state": State.IN_REVIEW,
                "consultant_hospital": hospital,
                "expert": {"$ne": user},
                "$or": asked,
            }
        case _:
            member = {"$elemMatch": {"user": user, "hospital": hospital, "excused": False}}
            return {"panel": member, "state": {"$nin": sorted(ENDED)}} if expert else None
