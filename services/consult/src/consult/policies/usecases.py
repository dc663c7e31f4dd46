"""Keep a hospital's policy, and say what follows from it for a case."""

from datetime import timedelta
from typing import cast

from consult.adapters.kept_settings import KeptSettings
from consult.errors import NotAllowed, NotFound
from consult.experts.usecases import HOSPITAL_ROLE, REGION_ROLE, Revised
from consult.limits.model import Spans
from consult.model import Consult, ReportText
from consult.policies.model import CRITICAL_MINUTES, Level, Policy, minutes_of, needs_second_reader
from consult.ports import HospitalBook
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims


class HospitalPolicies:
    """`Policies` of every hospital, each with a revision, 0 while it is the region's."""

    def __init__(
        self, kept: KeptSettings, hospitals: HospitalBook, audit: AuditTrail, minute_seconds: float = 60.0
    ) -> None:
        self._kept = kept
        self._hospitals = hospitals
        self._audit = audit
        self._minute = timedelta(seconds=minute_seconds)

    async def policy(self, claims: Claims, hospital: str) -> tuple[int, Policy]:
        """A hospital's own, for its operators and the region's."""
        await self._check(claims, hospital)
        return await self._read(hospital)

    async def keep(self, claims: Claims, hospital: str, revision: int, policy: Policy) -> tuple[int, Policy]:
        """Replace it, when it is still of this revision; limits that run already stay as they are.

        Raises
        ------
        Revised
            It has another revision by now.
        """
        await self._check(claims, hospital)
        if not await self._kept.put(_name(hospital), revision, policy.model_dump(mode="json", exclude_none=True)):
            raise Revised
        await self._audit.record(action="configure", outcome="success", reason=f"policy-{hospital}", **who(claims))
        return revision + 1, policy

    async def of(self, hospital: str) -> Policy:
        """What counts for a hospital, for the service itself."""
        return (await self._read(hospital))[1]

    async def second_reader_required(self, consult: Consult, report_text: ReportText | None) -> bool:
        """See `Policies.second_reader_required`."""
        return needs_second_reader(await self.of(consult.consultant_hospital), consult, report_text)

    async def spans(self, consult: Consult) -> Spans:
        """See `LimitPolicies.spans`."""
        hospital = consult.consultant_hospital
        level = await self._hospitals.level(hospital) if hospital else None
        if level is None:
            return {}
        accept, opinion, report = minutes_of(await self.of(hospital), consult.urgency, cast(Level, level))
        return {
            "accept": accept * self._minute,
            "opinion": opinion * self._minute,
            "report": report * self._minute,
            "critical": CRITICAL_MINUTES * self._minute,
        }

    async def _read(self, hospital: str) -> tuple[int, Policy]:
        revision, content = await self._kept.get(_name(hospital))
        return revision, Policy.model_validate(content, extra="ignore")

    async def _check(self, claims: Claims, hospital: str) -> None:
        own = HOSPITAL_ROLE in claims.roles and claims.hospital == hospital
        if not own and REGION_ROLE not in claims.roles:
            await self._audit.record(action="configure", outcome="denied", reason="not-an-operator", **who(claims))
            raise NotAllowed("only the hospital's own operators and the region's see and change its policy")
        if not await self._hospitals.knows(hospital):
            raise NotFound("this hospital is not registered in this region")


def _name(hospital: str) -> str:
    return f"policy-{hospital}"
