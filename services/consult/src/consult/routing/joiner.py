"""Joins a submit: who asked for "the right one", for a department or for an expert gets the whole address."""

from datetime import datetime

from consult.errors import InvalidConsult
from consult.experts.usecases import EXPERT_ROLE, Experts
from consult.model import Action, Consult, TargetKind
from consult.model.rules import level_above
from consult.ports import Facts, HospitalBook
from consult.routing.usecases import Routing
from consult.usecases.joining import Joined
from imaging_common.auth import Claims
from imaging_common.people import Directory


class RoutingJoiner:
    """Fills in the target of a case that is submitted, and of one that is made one level up."""

    def __init__(self, routing: Routing, experts: Experts, directory: Directory, hospitals: HospitalBook) -> None:
        self._routing = routing
        self._experts = experts
        self._directory = directory
        self._hospitals = hospitals

    async def join(
        self, before: Consult | None, changed: Consult, action: Action, claims: Claims, now: datetime
    ) -> Joined:
        """See `Joiner.join`. What was returned goes back to whom it came from: its target stands already."""
        if action is not Action.SUBMIT or (before is not None and before.submitted_at is not None):
            return Joined(changed)
        match changed.target_kind:
            case TargetKind.AUTO:
                return Joined(await self._routed(changed))
            case TargetKind.EXPERT:
                return Joined(await self._to_expert(changed))
            case TargetKind.DEPARTMENT if not changed.consultant_hospital:
                return Joined(await self._to_department(changed))
            case _:
                return Joined(changed)

    async def _routed(self, case: Consult) -> Consult:
        facts = Facts(frozenset(case.modalities), frozenset(case.body_parts))
        decision = await self._routing.choose(
            await self._routing.situation(case.applicant_hospital, case, facts, await self._wanted(case))
        )
        chosen = decision.chosen
        if chosen is None:
            text = "no row of the routing table fits this case: name a hospital, a department or an expert"
            raise InvalidConsult(text, ["consultant_hospital"])
        update = {
            "consultant_hospital": chosen.consultant_hospital,
            "department": chosen.department,
            "nominee": chosen.expert,
            "routed_by": decision.row,
        }
        return _noted(case.model_copy(update=update), decision.row)

    async def _to_expert(self, case: Consult) -> Consult:
        person = await self._directory.person(case.nominee) if case.nominee else None
        if person is None or EXPERT_ROLE not in person.roles:
            raise InvalidConsult("there is no expert of this name: choose one from the list", ["nominee"])
        if case.consultant_hospital not in ("", person.hospital):
            raise InvalidConsult("this expert is not of the hospital that is asked", ["nominee", "consultant_hospital"])
        return case.model_copy(update={"consultant_hospital": person.hospital})

    async def _to_department(self, case: Consult) -> Consult:
        """A department by its name: of the hospital one level up that has experts in it, the least busy."""
        level = await self._wanted(case) or _up(await self._hospitals.level(case.applicant_hospital))
        found = await self._experts.having(await self._hospitals.at_level(level), case.department)
        if not case.department or not found:
            text = "no hospital one level up is known to have this department: name the hospital"
            raise InvalidConsult(text, ["department", "consultant_hospital"])
        hospital = (await self._routing.supply([])).least_busy(found)
        return case.model_copy(update={"consultant_hospital": hospital})

    async def _wanted(self, case: Consult) -> str:
        """The level an escalated case goes to; empty: the applicant's own case."""
        return _up(await self._hospitals.level(case.applicant_hospital)) if case.parent_id else ""


def _up(level: str | None) -> str:
    """One level up; empty: there is none."""
    return level_above(level) or "" if level else ""


def _noted(case: Consult, row: str) -> Consult:
    """The case whose timeline says by which row; a case made by escalating says there what it came from."""
    step = case.timeline[-1]
    if step.about:
        return case
    return case.model_copy(update={"timeline": [*case.timeline[:-1], step.model_copy(update={"about": row})]})
