"""The access rule, over every combination of role, hospital and grant; search and decision always agree."""

from itertools import product
from typing import Any

import pytest

from imaging_common.access import Action, Grant, StudyRef, Subject, decide, visible_studies

STUDY = StudyRef("1.2.3", "community")
SAME_UID_ELSEWHERE = StudyRef("1.2.3", "secondary")
GRANT = Grant(STUDY, "case-1")
WORKSTATION = Grant(STUDY, "case-3", workstation=True)


def subject(hospital: str, roles: set[str], grants: tuple[Grant, ...] = ()) -> Subject:
    return Subject("somebody", hospital, frozenset(roles), grants)


def matches(clause: dict[str, Any], study: StudyRef) -> bool:
    """Evaluate the small part of MongoDB's query language that `visible_studies` uses."""
    if "$or" in clause:
        return any(matches(part, study) for part in clause["$or"])
    if "holder" in clause:
        return bool(clause["holder"] == study.holder)
    return f"{study.holder}/{study.study_uid}" in clause["_id"]["$in"]


def test_doctor_sees_study_when_own_hospital_holds_it() -> None:
    assert decide(subject("community", {"doctor"}), Action.VIEW, STUDY).allowed


def test_expert_sees_study_when_a_case_grants_it() -> None:
    decision = decide(subject("secondary", {"expert"}, (GRANT,)), Action.VIEW, STUDY)
    assert (decision.allowed, decision.reason) == (True, "consult-grant")


def test_grant_opens_only_its_holder_when_another_holds_the_same_uid() -> None:
    assert not decide(subject("tertiary", {"expert"}, (GRANT,)), Action.VIEW, SAME_UID_ELSEWHERE).allowed


@pytest.mark.parametrize("role", ["coordinator", "hospital-operator", "region-operator", "auditor", "administrator"])
def test_nobody_sees_images_when_the_role_is_not_a_reader(role: str) -> None:
    assert not decide(subject("community", {role}, (GRANT,)), Action.VIEW, STUDY).allowed


def test_edge_agent_sees_own_studies_and_only_those_cases_that_allow_workstations() -> None:
    edge = {"edge-agent"}
    assert decide(subject("community", edge), Action.VIEW, STUDY).reason == "own-hospital"
    assert not decide(subject("secondary", edge, (GRANT,)), Action.VIEW, STUDY).allowed
    decision = decide(subject("secondary", edge, (WORKSTATION,)), Action.VIEW, STUDY)
    assert (decision.allowed, decision.reason) == (True, "consult-workstation")
    assert not decide(subject("tertiary", edge, (WORKSTATION,)), Action.VIEW, SAME_UID_ELSEWHERE).allowed


def test_nobody_sees_anything_when_the_token_names_no_hospital() -> None:
    assert not decide(subject("", {"doctor"}), Action.VIEW, StudyRef("1.2.3", "")).allowed


def test_search_clause_agrees_with_the_decision_for_every_combination() -> None:
    roles = [set(), {"doctor"}, {"expert"}, {"doctor", "expert"}, {"auditor"}, {"auditor", "doctor"}]
    roles += [{"edge-agent"}, {"edge-agent", "auditor"}, {"edge-agent", "expert"}]
    hospitals = ["", "community", "secondary"]
    grants: list[tuple[Grant, ...]] = [
        (),
        (GRANT,),
        (Grant(SAME_UID_ELSEWHERE, "case-2"),),
        (WORKSTATION,),
        (GRANT, WORKSTATION),
    ]
    studies = [STUDY, SAME_UID_ELSEWHERE, StudyRef("1.2.4", "community")]
    for role, hospital, grant, study in product(roles, hospitals, grants, studies):
        who = subject(hospital, role, grant)
        assert decide(who, Action.SEARCH, study).allowed == matches(visible_studies(who), study)
