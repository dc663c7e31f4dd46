"""Every sequence of actions by every person keeps what the workflow promises (Hypothesis, stateful)."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from consult.errors import Conflict, InvalidConsult, NotAllowed, NotFound
from consult.model import ENDED, TRANSITIONS, Action, Consult, Report, State, may_see, roles_of
from imaging_common.events import (
    AuditRecorded,
    ConsultEvent,
    ConsultOpinionGiven,
    ConsultWithdrawn,
    StudyPinned,
    StudyReleased,
)

from .conftest import make_parts
from .people import COLLEAGUE, COORDINATOR, DOCTOR, EVERYBODY, EXPERT, NEEDED, OUTSIDER, PROFESSOR, RIVAL, TEXT

PEOPLE = st.sampled_from(EVERYBODY)
ACTIONS = st.sampled_from(list(Action))
EXPERTS = st.sampled_from([EXPERT, RIVAL, PROFESSOR, OUTSIDER, COLLEAGUE])
TARGETS = st.sampled_from(["tertiary", "secondary", "outside"])
REFUSALS = (Conflict, InvalidConsult, NotAllowed, NotFound)


class Workflow(RuleBasedStateMachine):
    """Cases and the cases above them; whoever tries whatever."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.parts = make_parts()
        self.store = self.parts.store
        self.issued: dict[str, Report] = {}

    def teardown(self) -> None:
        """The machine's own loop ends with it."""
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize(draft=st.booleans(), second_reader=st.booleans(), by_name=st.booleans())
    def apply(self, draft: bool, second_reader: bool, by_name: bool) -> None:
        """One case to begin with."""
        if second_reader:
            self.parts.policies.hospitals.add("secondary")
        target = {"target_kind": "expert", "nominee": EXPERT.user} if by_name else {}
        self.run(self.parts.desk.to(State.DRAFT if draft else State.SUBMITTED, **target))

    @rule(number=st.integers(0, 9), person=PEOPLE, action=ACTIONS, other=EXPERTS, asked=TARGETS, stale=st.booleans())
    def act(self, number: int, person: Any, action: Action, other: Any, asked: str, stale: bool) -> None:
        """Anybody tries any action on any case, sometimes on a version that is not the case's any more."""
        self._try(self._case(number), person, action, other, asked, stale)

    @rule(number=st.integers(0, 9), choice=st.integers(0, 10_000), other=EXPERTS)
    def act_as_allowed(self, number: int, choice: int, other: Any) -> None:
        """Somebody does what their page offers: the long ways are walked, too."""
        case = self._case(number)
        offers = [
            (person, action)
            for person in EVERYBODY
            if may_see(case, person)
            for action in self.run(self.parts.consults.view(person, case)).allowed
        ]
        if offers:
            person, action = offers[choice % len(offers)]
            self._try(case, person, action, other, "tertiary", False)

    def _case(self, number: int) -> Consult:
        cases = list(self.store.consults.values())
        return cases[number % len(cases)]

    def _try(self, case: Consult, person: Any, action: Action, other: Any, target: str, stale: bool) -> None:
        told = dict(NEEDED.get(action, {}))
        if action in (Action.ASSIGN, Action.REASSIGN):
            told["expert"] = other.user
        if action in (Action.ASK_PANEL, Action.EXCUSE_PANEL):
            told["member"] = other.user
        if action is Action.REQUEST_REVIEW and case.by_name:
            told["member"] = RIVAL.user
        if action is Action.ESCALATE:
            told["target"] = {"target_kind": "expert", "consultant_hospital": target, "nominee": f"expert.{target}"}
        before, count = dict(self.store.consults), len(self.store.sent)
        seen = case.model_copy(update={"version": case.version + 7}) if stale else case
        try:
            if action is Action.DRAFT:
                self.run(self.parts.desk.write(person, seen, TEXT))
            else:
                self.run(self.parts.desk.do(person, seen, action, **told))
        except REFUSALS:
            assert self.store.consults == before, "a refusal changes nothing"
            assert len(self.store.sent) == count, "a refusal tells nobody"
            return
        self._check(case, person, action, before, self.store.sent[count:])

    def _check(
        self, case: Consult, person: Any, action: Action, before: dict[str, Consult], sent: list[tuple[str, Any, str]]
    ) -> None:
        after, row = self.store.consults[case.id], TRANSITIONS[action]
        if action is Action.DRAFT and case.state is State.DRAFTED:
            assert (after.model_copy(update={"draft_saves": case.draft_saves}), sent) == (case, [])
            return
        assert case.state in row.sources
        assert roles_of(case, person) & row.roles, "nobody without the part acts"
        assert after.state is (row.target or case.state)
        events = [event for _, event, _ in sent if isinstance(event, ConsultEvent)]
        records = [event for _, event, _ in sent if isinstance(event, AuditRecorded)]
        for case_id, now in self.store.consults.items():
            was = before.get(case_id)
            told = [event for event in events if event.consult_id == case_id]
            if now == was:
                assert told == []
                continue
            assert now.version == (was.version if was else 0) + 1, "one step, one version"
            quiet = now.submitted_at is None
            assert [event.version.n for event in told] == ([] if quiet else [now.version]), "one event per transition"
            audited = [record for record in records if record.consult_id == case_id]
            assert len(audited) == len(now.studies), "one audit record per study"
            assert now.timeline[:-1] == (was.timeline if was else []), "the timeline only grows"
            if case_id != case.id and was is not None:
                assert isinstance(told[0], ConsultOpinionGiven | ConsultWithdrawn), "relatives change by these alone"

    @invariant()
    def issued_versions_never_change(self) -> None:
        for key, report in self.store.versions.items():
            assert self.issued.setdefault(key, report) == report

    @invariant()
    def nobody_reviews_what_they_wrote(self) -> None:
        for case in self.store.consults.values():
            for report in self.store.versions.values():
                assert report.reviewer is None or report.reviewer.user != report.author
            if case.state is State.ISSUED and case.report is not None and case.consultant_hospital == "secondary":
                assert case.report.reviewer is not None or not self.parts.policies.hospitals

    @invariant()
    def ended_cases_hold_no_access(self) -> None:
        """What is pinned for a case is what its access lasts for."""
        pinned: set[tuple[str, str]] = set()
        for _, event, _ in self.store.sent:
            if isinstance(event, StudyPinned):
                pinned.add((event.case_id, event.study_uid))
            if isinstance(event, StudyReleased):
                pinned.discard((event.case_id, event.study_uid))
        open_cases = {
            (case.id, study.study_uid)
            for case in self.store.consults.values()
            if case.submitted_at is not None and case.state not in ENDED
            for study in case.studies
        }
        assert pinned == open_cases

    @invariant()
    def cases_above_stand_on_cases_below(self) -> None:
        for case in self.store.consults.values():
            for child_id in case.children:
                child = self.store.consults[child_id]
                assert child.parent_id == case.id
                if case.state in (State.WITHDRAWN, State.REJECTED):
                    assert child.report is not None or child.state in ENDED
            if case.parent_id and case.report is not None:
                parent = self.store.consults[case.parent_id]
                answered = case.id in {opinion.from_consult for opinion in parent.opinions}
                assert answered or parent.state in ENDED or parent.report is not None

    @invariant()
    def a_case_at_work_has_its_expert(self) -> None:
        at_work = {State.ASSIGNED, State.READING, State.DRAFTED, State.IN_REVIEW, State.APPROVED, State.ISSUED}
        for case in self.store.consults.values():
            assert case.expert or case.state not in at_work
            assert may_see(case, DOCTOR) or case.parent_id
            if case.by_name and case.applicant != COORDINATOR.user:
                assert not may_see(case, COORDINATOR)


TestWorkflow = Workflow.TestCase
TestWorkflow.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
