"""Issued reports by study: for the parties of the case and the residents' EHR, drafts for nobody."""

from typing import Any

import pytest

from consult.model import Action, Application, Consult, ReportText, Study
from consult.usecases import Consults
from imaging_common.auth import Claims

DOCTOR = Claims("doctor.community", "community", frozenset({"doctor"}), "陈建国")
EXPERT = Claims("expert.secondary", "secondary", frozenset({"doctor", "expert"}), "周敏")
STRANGER = Claims("doctor.tertiary", "tertiary", frozenset({"doctor", "expert"}), "郑洁")
EHR = Claims("ehr-residents", "", frozenset({"ehr"}))
TEXT = ReportText(findings="右肺结节", impression="建议复查", positive=True)
STUDY = Study(study_uid="1.2.3", holder="community")


async def drafted(consults: Consults) -> Consult:
    named = {"consultant_hospital": "secondary", "studies": [STUDY.model_dump()], "purpose": "请会诊"}
    case = await consults.submit(DOCTOR, Application.model_validate(named), None)
    case = await consults.act(EXPERT, case.id, Action.ACCEPT, case.version)
    return await consults.draft(EXPERT, case.id, case.version, TEXT)


async def test_issued_report_is_found_by_its_study_for_parties_and_the_ehr(consults: Consults, trail: Any) -> None:
    case = await drafted(consults)
    assert await consults.reports(EHR, [STUDY], None) == []
    case = await consults.issue(EXPERT, case.id, case.version)
    for claims in (DOCTOR, EXPERT, EHR):
        assert [one.id for one in await consults.reports(claims, [STUDY], None)] == [case.id]
        assert [one.id for one in await consults.reports(claims, [], case.id)] == [case.id]
    assert trail.published[-1][1].reason == "consult-reports"


@pytest.mark.parametrize("study", [STUDY.model_copy(update={"holder": "tertiary"}), Study(study_uid="9", holder="x")])
async def test_nobody_else_finds_it_and_no_other_study_does(consults: Consults, study: Study) -> None:
    case = await drafted(consults)
    await consults.issue(EXPERT, case.id, case.version)
    assert await consults.reports(STRANGER, [STUDY], None) == []
    assert await consults.reports(EHR, [study], "no-id") == []
    assert await consults.reports(EHR, [study], None) == []
