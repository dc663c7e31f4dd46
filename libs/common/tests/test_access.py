"""The access rule, over every combination of role, hospital and grant; search and decision always agree."""

from itertools import combinations, product
from typing import Any

import pytest

from imaging_common.access import Action, Grant, GrantKind, StudyRef, Subject, decide, visible_studies

STUDY = StudyRef("1.2.3", "community")
SAME_UID_ELSEWHERE = StudyRef("1.2.3", "secondary")
GRANT = Grant(STUDY, "case-1")
WORKSTATION = Grant(STUDY, "case-3", workstation=True)
LI = StudyRef("1.2.5", "tertiary", "R-1")
LI_BEFORE_THE_MERGE = StudyRef("1.2.6", "community", "R-0")
UNLINKED = StudyRef("1.2.7", "tertiary")
LAUNCH = Grant(None, "launch-1", kind=GrantKind.LAUNCH, residents=frozenset({"R-1", "R-0"}))
LAUNCH_OF_A_STUDY = Grant(SAME_UID_ELSEWHERE, "launch-2", kind=GrantKind.LAUNCH)
BROKEN_GLASS = Grant(None, "glass-1", kind=GrantKind.BREAK_GLASS, residents=frozenset({"R-1"}))
SHARED = Grant(STUDY, "link-1", kind=GrantKind.SHARE)
NAMES_NOBODY = Grant(None, "launch-3", kind=GrantKind.LAUNCH, residents=frozenset({""}))


def subject(hospital: str, roles: set[str], grants: tuple[Grant, ...] = ()) -> Subject:
    return Subject("somebody", hospital, frozenset(roles), grants)


def matches(clause: dict[str, Any], study: StudyRef) -> bool:
    """Evaluate the small part of MongoDB's query language that `visible_studies` uses."""
    if "$or" in clause:
        return any(matches(part, study) for part in clause["$or"])
    if "holder" in clause:
        return bool(clause["holder"] == study.holder)
    if "resident_id" in clause:
        return study.resident_id in clause["resident_id"]["$in"]
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


def test_launch_opens_the_whole_record_and_break_glass_is_named_only_where_nothing_else_opens() -> None:
    doctor = subject("community", {"doctor"}, (BROKEN_GLASS, LAUNCH))
    assert decide(doctor, Action.VIEW, LI).reason == "launch"
    assert decide(subject("community", {"doctor"}, (BROKEN_GLASS,)), Action.VIEW, LI).reason == "break-glass"
    assert decide(doctor, Action.VIEW, LI_BEFORE_THE_MERGE).reason == "own-hospital"
    assert not decide(doctor, Action.VIEW, UNLINKED).allowed


def test_session_of_a_launch_or_share_link_sees_what_that_names_and_nothing_else() -> None:
    assert decide(subject("tertiary", {"launch"}, (LAUNCH,)), Action.VIEW, LI_BEFORE_THE_MERGE).reason == "launch"
    assert decide(subject("", {"share-link"}, (SHARED,)), Action.VIEW, STUDY).reason == "share-link"
    assert not decide(subject("tertiary", {"launch"}, (LAUNCH,)), Action.VIEW, UNLINKED).allowed
    assert not decide(subject("community", {"share-link", "doctor"}), Action.VIEW, STUDY).allowed


def test_auditor_sees_no_image_whatever_was_granted() -> None:
    assert not decide(subject("community", {"auditor"}, (LAUNCH, BROKEN_GLASS, GRANT)), Action.VIEW, LI).allowed


def test_search_clause_agrees_with_the_decision_for_every_combination() -> None:
    roles = [set(), {"doctor"}, {"expert"}, {"doctor", "expert"}, {"auditor"}, {"auditor", "doctor"}]
    roles += [{"edge-agent"}, {"edge-agent", "auditor"}, {"edge-agent", "expert"}, {"coordinator"}]
    roles += [{"launch"}, {"share-link"}, {"launch", "doctor"}, {"launch", "edge-agent"}, {"region-operator"}]
    hospitals = ["", "community", "secondary", "tertiary"]
    single = [GRANT, Grant(SAME_UID_ELSEWHERE, "case-2"), WORKSTATION, LAUNCH, LAUNCH_OF_A_STUDY, BROKEN_GLASS, SHARED]
    grants = [(), *combinations([*single, NAMES_NOBODY], 1), *combinations(single, 2)]
    studies = [STUDY, SAME_UID_ELSEWHERE, StudyRef("1.2.4", "community"), LI, LI_BEFORE_THE_MERGE, UNLINKED]
    studies.append(StudyRef("1.2.8", ""))
    for role, hospital, grant, study in product(roles, hospitals, grants, studies):
        who = subject(hospital, role, grant)
        assert decide(who, Action.SEARCH, study).allowed == matches(visible_studies(who), study), (who, study)


def test_consult_service_sees_what_its_cases_name_and_no_hospitals_own() -> None:
    service = subject("community", {"consult-service"}, (GRANT,))
    assert decide(service, Action.VIEW, STUDY).reason == "consult-grant"
    assert not decide(subject("community", {"consult-service"}), Action.VIEW, STUDY).allowed
    assert not decide(service, Action.VIEW, SAME_UID_ELSEWHERE).allowed
    assert [matches(visible_studies(service), one) for one in (STUDY, SAME_UID_ELSEWHERE)] == [True, False]
