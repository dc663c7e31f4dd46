"""Keep the routing table, try it, and ask it: what the pure `decide` needs is looked up here."""

import asyncio
from collections.abc import Sequence

from consult.adapters.kept_settings import KeptSettings
from consult.errors import InvalidConsult, NotAllowed
from consult.experts.usecases import EXPERT_ROLE, REGION_ROLE, STAFF, Experts, Revised
from consult.model import Application
from consult.model.rules import LEVELS
from consult.ports import Facts, HospitalBook, StudyAccess
from consult.routing.facts import group_of, groups_of, named_in, subspecialty_of
from consult.routing.loads import Loads
from consult.routing.model import OUTSIDE, Candidate, Decision, Row, Situation, Supply, decide, default_rows
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims
from imaging_common.people import Directory

DOCUMENT = "routing"


class Routing:
    """The region's table. Before anybody has written one it leads one level up from wherever one asks."""

    def __init__(
        self, kept: KeptSettings, experts: Experts, directory: Directory, hospitals: HospitalBook, loads: Loads,
        studies: StudyAccess, audit: AuditTrail, most_open: int,
    ) -> None:  # fmt: skip
        self._kept = kept
        self._experts = experts
        self._directory = directory
        self._hospitals = hospitals
        self._loads = loads
        self._studies = studies
        self._audit = audit
        self._most_open = most_open

    async def table(self, claims: Claims) -> tuple[int, list[Row]]:
        """The table as it decides now; revision 0: nobody has written one."""
        await self._operator(claims)
        return await self._table()

    async def keep(self, claims: Claims, revision: int, rows: Sequence[Row]) -> tuple[int, list[Row]]:
        """Replace it, when it is still of this revision.

        Raises
        ------
        Revised
            It has another revision by now.
        InvalidConsult
            A row leads nowhere: the text names it.
        """
        await self._operator(claims)
        known, _ = await self._kept.get(DOCUMENT)
        if known != revision:
            raise Revised
        checked = [await self._checked(number, row) for number, row in enumerate(rows, start=1)]
        if not await self._kept.put(DOCUMENT, revision, {"rows": [row.model_dump() for row in checked]}):
            raise Revised
        await self._audit.record(action="configure", outcome="success", reason=DOCUMENT, count=len(rows), **who(claims))
        return revision + 1, checked

    async def try_case(self, claims: Claims, case: Situation) -> Decision:
        """What it would choose for a made-up case."""
        self._person(claims)
        return await self.choose(case)

    async def try_application(self, claims: Claims, application: Application, token: str) -> Decision:
        """What it would choose for an application of this person, as it is written now."""
        self._person(claims)
        facts = await self._studies.facts(token, application.studies)
        return await self.choose(await self.situation(claims.hospital, application, facts))

    async def situation(self, hospital: str, application: Application, facts: Facts, wanted: str = "") -> Situation:
        """An application of a hospital, as the table sees it."""
        parts = groups_of(facts.body_parts) or named_in(application.examination_items)
        return Situation(
            level=await self._hospitals.level(hospital) or LEVELS[0],
            applicant_hospital=hospital,
            subspecialty=application.subspecialty or subspecialty_of(facts.modalities, parts),
            modalities=facts.modalities,
            body_parts=parts,
            urgency=application.urgency,
            wanted=wanted,
        )

    async def choose(self, case: Situation) -> Decision:
        """What the table says."""
        _, rows = await self._table()
        return decide(rows, case, await self.supply(rows))

    async def supply(self, rows: Sequence[Row]) -> Supply:
        """Who can be asked now."""
        named, by_expert, by_hospital, levels = await asyncio.gather(
            self._people(rows), self._loads.of_experts(), self._loads.of_hospitals(), self._levels()
        )
        candidates = [
            Candidate(
                one.user, one.name, one.hospital, one.department, one.subspecialties, one.on_duty, one.rostered,
                by_expert.get(one.user, 0),
            )
            for one in named
        ]  # fmt: skip
        return Supply(levels, candidates, by_hospital, self._most_open)

    async def _people(self, rows: Sequence[Row]) -> list[Candidate]:
        """Who is on duty, and whom rows name; only who has an account now."""
        kept = {expert.user: (expert, on_duty) for expert, on_duty in await self._experts.on_list()}
        wanted = {user for user, (_, on_duty) in kept.items() if on_duty} | {row.expert for row in rows if row.expert}
        people = await asyncio.gather(*(self._directory.person(user) for user in sorted(wanted)))
        found = []
        for person in people:
            if person is None or EXPERT_ROLE not in person.roles:
                continue
            expert, on_duty = kept.get(person.user, (None, False))
            found.append(
                Candidate(
                    user=person.user,
                    name=person.name,
                    hospital=person.hospital,
                    department=(expert.department if expert else "") or person.department,
                    subspecialties=frozenset(expert.subspecialties if expert else ()),
                    on_duty=on_duty,
                    rostered=bool(expert and expert.duty),
                )
            )
        return found

    async def _levels(self) -> dict[str, str]:
        found = await asyncio.gather(*(self._hospitals.at_level(level) for level in LEVELS))
        return {one: level for level, ones in zip(LEVELS, found, strict=True) for one in ones}

    async def _table(self) -> tuple[int, list[Row]]:
        revision, content = await self._kept.get(DOCUMENT)
        if revision == 0:
            return 0, default_rows(await self._levels())
        return revision, [Row.model_validate(row) for row in content["rows"]]

    async def _checked(self, number: int, row: Row) -> Row:
        where = f"row {number} (“{row.name}”)"
        if not row.hospital and (row.department or row.expert):
            raise InvalidConsult(f"{where}: name the hospital of this department or expert", ["rows"])
        level = await self._hospitals.level(row.hospital) if row.hospital else None
        if row.hospital and level is None:
            raise InvalidConsult(f"{where}: the hospital “{row.hospital}” is not registered in this region", ["rows"])
        if row.expert:
            person = await self._directory.person(row.expert)
            if person is None or EXPERT_ROLE not in person.roles or person.hospital != row.hospital:
                raise InvalidConsult(f"{where}: “{row.expert}” is no expert of this hospital", ["rows"])
        elif level == OUTSIDE:
            raise InvalidConsult(f"{where}: at a hospital outside the region a case goes to a named expert", ["rows"])
        return row.model_copy(update={"body_part": group_of(row.body_part), "modality": row.modality.upper()})

    async def _operator(self, claims: Claims) -> None:
        if REGION_ROLE not in claims.roles:
            await self._audit.record(action="configure", outcome="denied", reason="not-an-operator", **who(claims))
            raise NotAllowed("only the region's operators see and change the routing table")

    @staticmethod
    def _person(claims: Claims) -> None:
        if not claims.roles & STAFF:
            raise NotAllowed("only people try the routing table")
