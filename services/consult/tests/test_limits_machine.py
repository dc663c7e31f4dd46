"""Whatever people do in whatever order and time: the timers are those of the cases, and each step is told once."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from consult.errors import Conflict, InvalidConsult, NotAllowed, NotFound
from consult.limits.model import next_due
from consult.model import ENDED, PAUSED, Action, Consult, State, may_see

from .limit_parts import make_limit_parts
from .people import EVERYBODY, NEEDED, TEXT

CRITICAL = TEXT.model_copy(update={"critical": True, "critical_text": "气胸"})
REFUSALS = (Conflict, InvalidConsult, NotAllowed, NotFound)


class Limited(RuleBasedStateMachine):
    """Cases, people, and time that passes; the scheduler looks now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.patch = pytest.MonkeyPatch()
        self.parts = make_limit_parts(self.patch)
        self.told = 0

    def teardown(self) -> None:
        """The machine's own loop and clock end with it."""
        self.patch.undo()
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize(draft=st.booleans())
    def apply(self, draft: bool) -> None:
        """One case to begin with."""
        self.run(self.parts.desk.to(State.DRAFT if draft else State.SUBMITTED))

    @rule(minutes=st.sampled_from([1, 30, 110, 250, 4000]))
    def wait(self, minutes: int) -> None:
        """Time passes, and nobody looks."""
        self.parts.clock.later(minutes=minutes)

    @rule()
    def look(self) -> None:
        """The scheduler takes what is due; afterwards nothing is."""
        before = dict(self.parts.store.consults)
        self.run(self.parts.scheduler.take_due())
        now, store = self.parts.clock.now, self.parts.store
        assert all(due > now for case in store.consults.values() if (due := next_due(case)))
        for event in self.parts.events()[self.told :]:
            case = before[event.consult_id]
            assert case.state not in PAUSED, "nothing is told of what stands still"
            running = [one for one in case.limits if one.name == event.limit and one.met_at is None]
            assert [one.due_at for one in running] == [event.due_at], "nothing is told of what is met"
            assert event.version.n == case.version == store.consults[case.id].version, "it is no transition"
        self.told = len(self.parts.events())

    @rule(number=st.integers(0, 9), choice=st.integers(0, 10_000), critical=st.booleans())
    def act(self, number: int, choice: int, critical: bool) -> None:
        """Somebody does what their page offers."""
        cases = list(self.parts.store.consults.values())
        case = cases[number % len(cases)]
        offers = [
            (person, action)
            for person in EVERYBODY
            if may_see(case, person)
            for action in self.run(self.parts.consults.view(person, case)).allowed
        ]
        if not offers:
            return
        person, action = offers[choice % len(offers)]
        try:
            if action is Action.DRAFT:
                self.run(self.parts.desk.write(person, case, CRITICAL if critical else TEXT))
            else:
                self.run(self.parts.desk.do(person, case, action, **NEEDED.get(action, {})))
        except REFUSALS:
            assert self.parts.store.consults[case.id] == case

    @invariant()
    def timers_are_those_of_the_cases(self) -> None:
        wanted = {case.id: next_due(case) for case in self._submitted()}
        assert self.parts.timers.at == {case_id: at for case_id, at in wanted.items() if at is not None}

    @invariant()
    def each_step_is_told_once(self) -> None:
        told = Counter((event.consult_id, event.limit, event.due_at, event.step) for event in self.parts.events())
        assert all(count == 1 for count in told.values())

    @invariant()
    def limits_fit_the_state(self) -> None:
        for case in self._submitted():
            running = [one.name for one in case.limits if one.met_at is None]
            assert len(set(running)) == len(running), "of each kind one runs"
            assert case.overdue == any(one.overdue for one in case.limits if one.met_at is None)
            assert (case.paused_at is not None) == (case.state is State.RETURNED)
            assert ("report" in running) == (case.report is None and case.state not in ENDED)
            if case.state is State.SUBMITTED:
                assert "accept" in running
            if case.state not in (State.SUBMITTED, State.RETURNED):
                assert "accept" not in running
            if case.state in (State.REJECTED, State.WITHDRAWN):
                assert running == []

    def _submitted(self) -> list[Consult]:
        return [case for case in self.parts.store.consults.values() if case.submitted_at is not None]


TestLimited = Limited.TestCase
TestLimited.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
