"""Whom a case opens which studies to: by hospital, by name, over levels, in whatever order the events come."""

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.cases import CaseGrant, grant_of, grants_from, hears_of, reopened, resolved, takes_part
from imaging_common.access import Action, StudyRef, Subject, decide
from imaging_common.auth import Claims
from imaging_common.events import EVENT_TYPES, ConsultEvent, Version

STUDY = StudyRef("1.2.3", "community")
DOCTOR = Claims("doctor.community", "community", frozenset({"doctor"}))
COLLEAGUE = Claims("other.community", "community", frozenset({"doctor"}))
EXPERT = Claims("expert.secondary", "secondary", frozenset({"doctor", "expert"}))
OTHER_EXPERT = Claims("second.secondary", "secondary", frozenset({"expert"}))
COORDINATOR = Claims("coordinator.secondary", "secondary", frozenset({"coordinator"}))
ABOVE = Claims("doctor.tertiary", "tertiary", frozenset({"doctor", "expert"}))
OUTSIDER = Claims("expert.outside", "outside", frozenset({"expert"}))


def told(kind: str = "ConsultSubmitted", n: int = 1, **more: Any) -> ConsultEvent:
    """A transition as the consult service tells it."""
    known: dict[str, Any] = {
        "consult_id": "parent", "number": "C-1", "version": {"epoch": 1, "n": n}, "state": "submitted",
        "applicant": "doctor.community", "applicant_hospital": "community", "consultant_hospital": "secondary",
        "studies": [{"study_uid": "1.2.3", "holder": "community"}], "at": datetime.now(UTC),
    }  # fmt: skip
    event = EVENT_TYPES[kind].model_validate({**known, **more})
    assert isinstance(event, ConsultEvent)
    return event


def child(kind: str = "ConsultSubmitted", n: int = 1, **more: Any) -> ConsultEvent:
    """The case the parent's expert opens one level up."""
    above = {"consult_id": "child", "applicant": "expert.secondary", "applicant_hospital": "secondary"}
    return told(kind, n, **{**above, "consultant_hospital": "tertiary", "parent_id": "parent", **more})


def after(*events: ConsultEvent) -> Mapping[str, CaseGrant]:
    """What the store holds after these events."""
    held: dict[str, CaseGrant] = {}
    for event in events:
        known = held.get(event.consult_id)
        if known is None or event.version.newer_than(known.version):
            held[event.consult_id] = grant_of(event)
    return held


def sees(who: Claims, held: Mapping[str, CaseGrant], study: StudyRef = STUDY) -> bool:
    """What the access rule says with the grants of the person's cases."""
    mine = [case for case in held.values() if case.open and takes_part(case, who)]
    grants = grants_from(resolved(mine, held))
    return decide(Subject(who.user, who.hospital, who.roles, grants), Action.VIEW, study).allowed


def test_case_opens_to_the_experts_asked_and_to_no_coordinator() -> None:
    held = after(told())
    assert sees(EXPERT, held)
    assert sees(OTHER_EXPERT, held)
    assert not sees(COORDINATOR, held)
    assert not sees(ABOVE, held)


def test_case_to_a_person_opens_to_those_with_a_part_only() -> None:
    parts = [{"user": "expert.secondary", "hospital": "secondary", "part": "nominee"}]
    held = after(told(by_name=True, participants=parts))
    assert sees(EXPERT, held)
    assert not sees(OTHER_EXPERT, held)


def test_panel_member_of_any_hospital_sees_it_by_name_and_not_as_somebody_else() -> None:
    parts = [{"user": "expert.outside", "hospital": "outside", "part": "panel"}]
    held = after(told(), told("ConsultPanelChanged", 2, member="expert.outside", joined=True, participants=parts))
    assert sees(OUTSIDER, held)
    assert not sees(Claims("expert.outside", "tcm", frozenset({"expert"})), held)
    assert not sees(OUTSIDER, after(told(), told("ConsultPanelChanged", 3, member="expert.outside", joined=False)))


EVENTS = (told(), told("ConsultAccepted", 2, state="accepted"), child(), child("ConsultAccepted", 2, state="accepted"))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_escalated_case_opens_what_the_one_below_opens_in_every_order_of_events(order: tuple[int, ...]) -> None:
    held = after(*(EVENTS[index] for index in order))
    assert sees(ABOVE, held)
    assert sees(COLLEAGUE, held)


def test_over_two_levels_and_only_while_the_lower_case_is_open() -> None:
    top = told(
        consult_id="top", applicant="doctor.tertiary", applicant_hospital="tertiary", consultant_hospital="outside",
        parent_id="child", by_name=True,
        participants=[{"user": "expert.outside", "hospital": "outside", "part": "nominee"}],
    )  # fmt: skip
    held = after(top, child(), told())
    assert sees(OUTSIDER, held)
    assert not sees(OUTSIDER, after(top, child(), told("ConsultWithdrawn", 2, state="withdrawn")))
    assert not sees(OUTSIDER, after(top, child()))


def test_naming_a_foreign_study_or_a_foreign_parent_gains_nothing() -> None:
    held = after(told(), told(consult_id="greedy", studies=[{"study_uid": "9", "holder": "tcm"}]))
    assert not sees(EXPERT, held, StudyRef("9", "tcm"))
    alien = child(consult_id="alien", applicant="doctor.tcm", applicant_hospital="tcm")
    assert not sees(ABOVE, after(told(), alien)), "the case below was not asked of the applicant's hospital"


@pytest.mark.parametrize(
    ("kind", "state"),
    [("ConsultRejected", "rejected"), ("ConsultWithdrawn", "withdrawn"), ("ConsultAcknowledged", "acknowledged")],
)
def test_ended_case_opens_nothing_until_its_report_is_amended(kind: str, state: str) -> None:
    ended = [told(), told(kind, 5, state=state)]
    assert not sees(EXPERT, after(*ended))
    assert sees(EXPERT, after(*ended, told("ConsultAmendmentStarted", 6, state="drafted")))


def test_critical_value_confirmed_after_the_end_does_not_reopen_and_a_draft_opens_nothing() -> None:
    late = told("ConsultCriticalAcknowledged", 6, state="acknowledged")
    assert not sees(EXPERT, after(told(), told("ConsultAcknowledged", 5, state="acknowledged"), late))
    assert not sees(EXPERT, after(told(state="draft")))


def test_documents_of_before_escalation_are_still_read() -> None:
    old = CaseGrant.model_validate({
        "consult_id": "old", "version": Version(epoch=1, n=1), "open": True, "applicant": "doctor.community",
        "applicant_hospital": "community", "consultant_hospital": "secondary",
        "studies": [{"study_uid": "1.2.3", "holder": "community"}],
    })  # fmt: skip
    assert sees(EXPERT, {"old": old})


def test_pages_hear_of_a_case_when_it_is_theirs() -> None:
    def hears(who: Claims, event: ConsultEvent) -> bool:
        return hears_of(Subject(who.user, who.hospital, who.roles), event)

    assert [hears(who, told()) for who in (DOCTOR, COLLEAGUE, EXPERT, COORDINATOR, ABOVE)] == [True] * 4 + [False]
    draft = told(state="draft")
    assert [hears(who, draft) for who in (DOCTOR, COLLEAGUE, EXPERT)] == [True, False, False]
    named = told(by_name=True, participants=[{"user": "expert.outside", "hospital": "outside", "part": "panel"}])
    assert [hears(who, named) for who in (OUTSIDER, EXPERT, COORDINATOR)] == [True, False, False]
    assert hears(EXPERT, told("ConsultReleased", 2, by_name=True, previous_expert="expert.secondary"))


def test_issued_report_opens_the_case_to_the_consult_service_for_a_while_also_after_its_end() -> None:
    issued = grant_of(told("ReportIssued", 5, state="issued", report_id="r1", report_version=1))
    ended = grant_of(told("ConsultAcknowledged", 6, state="acknowledged"))
    assert (issued.issued_at is not None, ended.issued_at, ended.open) == (True, None, False)
    (again,) = resolved(reopened([ended]), {})
    assert [one.study for one in grants_from([again])] == [STUDY]
