"""Keep what is known of experts, and find one: accounts come from the directory, the rest from the kept list."""

import asyncio
from collections.abc import Sequence

from consult.adapters.kept_settings import KeptSettings
from consult.errors import InvalidConsult, NotAllowed
from consult.experts.model import MAX_FOUND, Expert, FoundExpert, Hours, fits, with_account
from consult.model.rules import LEVELS
from consult.ports import Clock, HospitalBook
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims
from imaging_common.people import Directory

DOCUMENT = "experts"
EXPERT_ROLE = "expert"
REGION_ROLE, HOSPITAL_ROLE = "region-operator", "hospital-operator"
STAFF = frozenset({"doctor", EXPERT_ROLE, "coordinator", REGION_ROLE, HOSPITAL_ROLE, "auditor"})
"""People, as against programs."""


class Revised(Exception):
    """Somebody else has changed it since it was read."""


class Experts:
    """The list of a region's experts, each hospital's part of it its operators'."""

    def __init__(
        self, kept: KeptSettings, directory: Directory, hospitals: HospitalBook, audit: AuditTrail, hours: Hours,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._kept = kept
        self._directory = directory
        self._hospitals = hospitals
        self._audit = audit
        self._hours = hours
        self._clock = clock

    async def listed(self, claims: Claims) -> tuple[int, list[Expert]]:
        """The experts this operator answers for: everybody with an account, also who has nothing kept beside it."""
        own = await self._own(claims)
        revision, rows = await self._rows()
        return revision, await self._with_accounts(rows, own)

    async def keep(self, claims: Claims, revision: int, experts: Sequence[Expert]) -> tuple[int, list[Expert]]:
        """Replace them, when the list is still of this revision; other hospitals' rows stay.

        Raises
        ------
        Revised
            The list has another revision by now.
        InvalidConsult
            A row names nobody, or somebody of a hospital that is not this operator's: the text says which.
        """
        own = await self._own(claims)
        known, rows = await self._rows()
        if known != revision:
            raise Revised
        checked = [await self._checked(number, row, own) for number, row in enumerate(experts, start=1)]
        if len({one.user for one in checked}) != len(checked):
            raise InvalidConsult("an expert is named twice", ["experts"])
        content = [*(row for row in rows if row.hospital not in own), *checked]
        document = {"experts": [row.model_dump() for row in sorted(content, key=lambda row: (row.hospital, row.user))]}
        if not await self._kept.put(DOCUMENT, revision, document):
            raise Revised
        await self._audit.record(
            action="configure", outcome="success", reason=DOCUMENT, count=len(checked), **who(claims)
        )
        return revision + 1, await self._with_accounts(checked, own)

    async def search(self, claims: Claims, words: str, hospital: str, department: str) -> list[FoundExpert]:
        """Experts for what was typed, those on duty first."""
        if not claims.roles & STAFF:
            raise NotAllowed("only people look for an expert")
        wanted = [hospital] if hospital else await self.all_hospitals()
        _, rows = await self._rows()
        found = [
            self._found(one)
            for one in await self._with_accounts(rows, wanted)
            if fits(one, words) and department in ("", one.department)
        ]
        return sorted(found, key=lambda one: (not one.on_duty, one.hospital, one.user))[:MAX_FOUND]

    async def on_list(self) -> list[tuple[Expert, bool]]:
        """Everybody of whom something is kept, as it was kept, and whether they are on duty now."""
        _, rows = await self._rows()
        return [(row, self._on_duty(row)) for row in rows]

    async def having(self, hospitals: Sequence[str], department: str) -> list[str]:
        """Those of these hospitals with an expert of this department."""
        _, rows = await self._rows()
        found = await self._with_accounts(rows, hospitals)
        return sorted({one.hospital for one in found if one.department == department})

    async def all_hospitals(self) -> list[str]:
        """Every hospital that can be asked."""
        return [one for level in LEVELS for one in await self._hospitals.at_level(level)]

    async def _rows(self) -> tuple[int, list[Expert]]:
        revision, content = await self._kept.get(DOCUMENT)
        return revision, [Expert.model_validate(row) for row in content.get("experts", [])]

    async def _own(self, claims: Claims) -> list[str]:
        if REGION_ROLE in claims.roles:
            return await self.all_hospitals()
        if HOSPITAL_ROLE in claims.roles and claims.hospital:
            return [claims.hospital]
        await self._audit.record(action="configure", outcome="denied", reason="not-an-operator", **who(claims))
        raise NotAllowed("only operators see and change the list of experts")

    async def _with_accounts(self, rows: Sequence[Expert], hospitals: Sequence[str]) -> list[Expert]:
        kept = {row.user: row for row in rows}
        groups = await asyncio.gather(*(self._directory.group(one, EXPERT_ROLE) for one in hospitals))
        return [with_account(kept.get(one.user), one) for group in groups for one in group]

    async def _checked(self, number: int, row: Expert, own: Sequence[str]) -> Expert:
        person = await self._directory.person(row.user)
        if person is None or EXPERT_ROLE not in person.roles:
            raise InvalidConsult(
                f"row {number}: there is no expert “{row.user}”; their account comes first", ["experts"]
            )
        if person.hospital not in own or (row.hospital and row.hospital != person.hospital):
            raise InvalidConsult(f"row {number}: “{row.user}” is not an expert of this hospital", ["experts"])
        return with_account(row, person)

    def _on_duty(self, row: Expert) -> bool:
        return self._hours.shift(self._clock()) in row.duty

    def _found(self, one: Expert) -> FoundExpert:
        return FoundExpert.model_validate({**one.model_dump(), "on_duty": self._on_duty(one)})
