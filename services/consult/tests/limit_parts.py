"""A service over fakes with policies, time limits, critical values and a clock that is set by hand."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from consult.adapters.fake_consults import FakeConsultStore, FakeHospitalBook, FakeStudyAccess
from consult.adapters.kept_settings import FakeKeptSettings
from consult.limits import FakeTimers, LimitsJoiner, Scheduler
from consult.model import Action, Consult
from consult.policies import HospitalPolicies, Policy
from consult.policies.model import Limits
from consult.reports.joiner import critical_of
from consult.usecases import Consults, Drafts
from consult.usecases import consults as consults_module
from consult.usecases.joining import Joined
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims
from imaging_common.events import ConsultTimeLimit
from imaging_common.messaging import FakePublisher
from imaging_common.people import FakeDirectory
from imaging_common.testing.waiting import until

from .people import LEVELS, PEOPLE, Desk

BEGIN = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
LIMITS = {"accept": 100, "opinion": 200, "report": 400}


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)


class CriticalJoiner:
    """What the joiner of reports does with critical values, without the rest of it."""

    async def join(
        self, before: Consult | None, changed: Consult, action: Action, claims: Claims, now: datetime
    ) -> Joined:
        if action is not Action.ISSUE or changed.report is None:
            return Joined(changed)
        critical = critical_of(changed.critical, changed.report, now)
        return Joined(changed.model_copy(update={"critical": critical}))


class LimitParts(SimpleNamespace):
    """The parts by name."""

    store: FakeConsultStore
    timers: FakeTimers
    clock: Clock
    scheduler: Scheduler
    policies: HospitalPolicies
    consults: Consults
    desk: Desk

    def events(self) -> list[ConsultTimeLimit]:
        """What was told of time limits."""
        return [event for _, event, _ in self.store.sent if isinstance(event, ConsultTimeLimit)]

    def told(self) -> list[str]:
        """The same, in words."""
        return [f"{event.limit}-{event.step}" for event in self.events()]

    async def until_told(self) -> None:
        """Wait for the first."""

        async def some() -> bool:
            return bool(self.events())

        await until(some, 5, "a time limit told")


def make_limit_parts(monkeypatch: pytest.MonkeyPatch, store: FakeConsultStore | None = None) -> LimitParts:
    """A service without cases; `secondary` has set limits for routine cases, and no other hospital any."""
    parts = LimitParts(store=store or FakeConsultStore(), timers=FakeTimers(), clock=Clock())
    monkeypatch.setattr(consults_module, "time_now", parts.clock)
    kept, hospitals, audit = FakeKeptSettings(), FakeHospitalBook(**LEVELS), AuditTrail("consult", FakePublisher())
    policy = Policy(limits={"routine": {"secondary": Limits(**LIMITS)}})
    kept.kept["policy-secondary"] = (1, policy.model_dump(mode="json", exclude_none=True))
    parts.policies = HospitalPolicies(kept, hospitals, audit)
    joiners = [CriticalJoiner(), LimitsJoiner(parts.policies, parts.timers)]
    directory = FakeDirectory(*PEOPLE)
    parts.consults = Consults(parts.store, hospitals, audit, directory, parts.policies, FakeStudyAccess(), joiners)
    parts.desk = Desk(parts.consults, Drafts(parts.store, parts.consults))
    parts.scheduler = Scheduler(parts.store, parts.timers, parts.clock, poll_seconds=0.01)
    return parts
