"""Time limits: which a case has after each transition, what happens when they pass, and that it happens once."""

from datetime import datetime, timedelta

import pytest

from consult.adapters.fake_consults import FakeConsultStore
from consult.limits import FakeTimers, Scheduler
from consult.limits.model import next_due
from consult.model import Action, Box, Consult, ReportText, State
from consult.ports import BoxQuery
from imaging_common.events import ConsultTimeLimit

from .limit_parts import LIMITS, Clock, LimitParts, make_limit_parts
from .people import COLLEAGUE, COORDINATOR, DOCTOR, EXPERT, TEXT


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> LimitParts:
    return make_limit_parts(monkeypatch)


def left(case: Consult, clock: Clock) -> dict[str, float]:
    """Minutes until each limit that runs."""
    return {one.name: (one.due_at - clock.now) / timedelta(minutes=1) for one in case.limits if one.met_at is None}


def overdue_box(store: FakeConsultStore) -> BoxQuery:
    return BoxQuery(EXPERT, Box.RECEIVED, overdue=True)


async def test_limits_run_from_submission_and_are_met_one_by_one(limited: LimitParts) -> None:
    desk, clock = limited.desk, limited.clock
    draft = await desk.to(State.DRAFT)
    assert (draft.limits, limited.timers.at) == ([], {})
    case = await desk.do(DOCTOR, draft, Action.SUBMIT)
    assert left(case, clock) == LIMITS
    clock.later(minutes=1)
    case = await desk.do(COORDINATOR, case, Action.ACCEPT)
    assert left(case, clock) == {"opinion": 199, "report": 399}
    case = await desk.do(EXPERT, case, Action.CLAIM)
    case = await desk.write(EXPERT, await desk.do(EXPERT, case, Action.READ))
    assert left(case, clock) == {"report": 399}
    assert limited.timers.at == {case.id: case.limits[2].remind_at}
    case = await desk.do(EXPERT, case, Action.ISSUE)
    assert (left(case, clock), case.overdue, limited.timers.at) == ({}, False, {})
    clock.later(days=9)
    assert await limited.scheduler.take_due() == 0


async def test_passed_limit_is_reminded_of_overdue_and_escalated_once(limited: LimitParts) -> None:
    case = await limited.desk.apply()
    told = []
    for _ in range(12):
        limited.clock.later(minutes=15)
        await limited.scheduler.take_due()
        told.append(limited.told())
    assert told[3:6] == [[], ["accept-reminder"], ["accept-reminder"]], "75 of 100 minutes are gone"
    assert limited.told() == ["accept-reminder", "accept-overdue", "accept-escalated", "opinion-reminder"]
    kept = limited.store.consults[case.id]
    assert (kept.version, kept.overdue, len(kept.timeline)) == (case.version, True, len(case.timeline))
    assert [one.id for one in await limited.store.find(overdue_box(limited.store))] == [case.id]
    event = limited.events()[1]
    assert (event.due_at, event.overdue, event.by, event.version.n) == (case.limits[0].due_at, True, "", case.version)
    after = await limited.desk.do(EXPERT, kept, Action.ACCEPT)
    assert (after.overdue, after.limits[0].overdue) == (False, True)
    assert await limited.store.find(overdue_box(limited.store)) == []


async def test_limits_stand_still_while_the_application_is_returned(limited: LimitParts) -> None:
    case = await limited.desk.apply()
    limited.clock.later(minutes=60)
    case = await limited.desk.do(EXPERT, case, Action.RETURN)
    assert limited.timers.at == {}
    limited.clock.later(days=3)
    assert await limited.scheduler.take_due() == 0
    case = await limited.desk.do(DOCTOR, case, Action.SUBMIT)
    assert (left(case, limited.clock), case.paused_at) == ({"accept": 40, "opinion": 140, "report": 340}, None)
    limited.clock.later(minutes=15)
    await limited.scheduler.take_due()
    assert limited.told() == ["accept-reminder"]


async def test_case_that_was_taken_and_returned_is_to_be_accepted_again_in_the_whole_time(limited: LimitParts) -> None:
    case = await limited.desk.to(State.ACCEPTED)
    limited.clock.later(minutes=90)
    case = await limited.desk.do(EXPERT, case, Action.RETURN)
    limited.clock.later(minutes=500)
    case = await limited.desk.do(DOCTOR, case, Action.SUBMIT)
    assert left(case, limited.clock) == {"accept": 100, "opinion": 110, "report": 310}
    assert [one.name for one in case.limits].count("accept") == 1
    limited.clock.later(minutes=120)
    await limited.scheduler.take_due()
    case = limited.store.consults[case.id]
    case = await limited.desk.do(EXPERT, await limited.desk.do(EXPERT, case, Action.ACCEPT), Action.RETURN)
    case = await limited.desk.do(DOCTOR, case, Action.SUBMIT)
    assert [one.overdue for one in case.limits if one.name == "accept"] == [True, False], "what was late stays so"
    assert case.limits[-1].met_at is None


async def test_report_that_comes_late_between_two_looks_was_late(limited: LimitParts) -> None:
    case = await limited.desk.to(State.DRAFTED)
    limited.clock.later(minutes=401)
    case = await limited.desk.do(EXPERT, case, Action.ISSUE)
    assert [(one.name, one.overdue) for one in case.limits] == [
        ("accept", False), ("opinion", False), ("report", True),
    ]  # fmt: skip
    assert (case.overdue, await limited.scheduler.take_due()) == (False, 0)


@pytest.mark.parametrize(("ending", "met"), [(State.REJECTED, ["accept"]), (State.WITHDRAWN, [])])
async def test_case_that_ends_leaves_no_timer(limited: LimitParts, ending: State, met: list[str]) -> None:
    case = await limited.desk.to(ending)
    assert (left(case, limited.clock), limited.timers.at, next_due(case)) == ({}, {}, None)
    assert [one.name for one in case.limits] == met, "nobody met the others"


async def test_case_that_was_late_stays_so_when_it_is_withdrawn(limited: LimitParts) -> None:
    case = await limited.desk.apply()
    limited.clock.later(minutes=101)
    case = await limited.desk.do(DOCTOR, case, Action.WITHDRAW)
    assert [(one.name, one.overdue) for one in case.limits] == [("accept", True)]
    assert (case.overdue, limited.timers.at) == (False, {})


async def test_critical_value_is_confirmed_in_time_or_told_on(limited: LimitParts) -> None:
    case = await limited.desk.to(State.READING)
    text = TEXT.model_copy(update={"critical": True, "critical_text": "张力性气胸"})
    case = await limited.desk.do(EXPERT, await limited.desk.write(EXPERT, case, ReportText(**dict(text))), Action.ISSUE)
    assert left(case, limited.clock) == {"critical": 30}
    case = await limited.desk.do(DOCTOR, case, Action.ACKNOWLEDGE)
    limited.clock.later(minutes=31)
    await limited.scheduler.take_due()
    assert limited.told() == ["critical-reminder", "critical-overdue"], "it runs on when the case has ended"
    case = limited.store.consults[case.id]
    case = await limited.desk.do(COLLEAGUE, case, Action.ACKNOWLEDGE_CRITICAL)
    assert (left(case, limited.clock), case.overdue, limited.timers.at) == ({}, False, {})


async def test_case_one_level_up_has_limits_of_its_own_and_its_report_is_an_opinion(limited: LimitParts) -> None:
    case = await limited.desk.to(State.ASSIGNED)
    limited.clock.later(minutes=10)
    case = await limited.desk.do(EXPERT, case, Action.ESCALATE)
    child = limited.store.consults[case.children[0]]
    assert left(child, limited.clock) == {"accept": 8 * 60, "opinion": 24 * 60, "report": 48 * 60}, "the region's"
    assert left(case, limited.clock) == {"opinion": 190, "report": 390}
    assert set(limited.timers.at) == {case.id, child.id}


async def test_what_happened_while_every_copy_was_down_is_told_late_but_all(limited: LimitParts) -> None:
    await limited.desk.apply()
    limited.clock.later(days=1)
    assert await limited.scheduler.take_due() == 9
    assert limited.told() == [f"{name}-{step}" for name in LIMITS for step in ("reminder", "overdue", "escalated")]
    assert limited.timers.at == {}


class _DyingStore(FakeConsultStore):
    """Its commit works, or the process dies before it, or somebody else changes the case first."""

    def __init__(self) -> None:
        super().__init__()
        self.happens: list[str] = []

    async def commit(self, changes, *, once=None, writes=()):  # type: ignore[no-untyped-def]
        what = self.happens.pop(0) if self.happens else "works"
        if what == "dies":
            raise ConnectionError
        if what == "changed":
            case = self.consults[changes[0].after.id]
            self.consults[case.id] = case.model_copy(update={"draft_saves": case.draft_saves + 1})
        return await super().commit(changes, once=once, writes=writes)


async def test_copy_that_dies_leaves_the_step_to_another_and_a_changed_case_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited = make_limit_parts(monkeypatch, _DyingStore())
    await limited.desk.apply()
    limited.clock.later(minutes=76)
    limited.store.happens = ["dies", "changed", "changed"]  # type: ignore[attr-defined]
    with pytest.raises(ConnectionError):
        await limited.scheduler.take_due()
    other = Scheduler(limited.store, limited.timers, limited.clock)
    assert await other.take_due() == 0, "the dead copy's lease"
    limited.clock.later(minutes=1)
    assert await other.take_due() == 1
    assert limited.told() == ["accept-reminder"]


async def test_timer_without_case_holds_up_nobody(limited: LimitParts) -> None:
    limited.timers.at["0" * 32] = datetime(2020, 1, 1, tzinfo=limited.clock.now.tzinfo)
    await limited.desk.apply()
    limited.clock.later(minutes=76)
    assert await limited.scheduler.take_due() == 1


async def test_loop_takes_what_is_due_until_it_is_stopped(limited: LimitParts) -> None:
    await limited.desk.apply()
    limited.clock.later(minutes=76)
    await limited.scheduler.start()
    await limited.until_told()
    await limited.scheduler.stop()
    assert [type(event) for event in limited.events()] == [ConsultTimeLimit]
    assert isinstance(limited.timers, FakeTimers)
