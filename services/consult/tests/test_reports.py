"""Issued reports by study: for the parties of the case and the residents' EHR, drafts for nobody."""

from typing import Any

import pytest

from consult.model import Action, State, Study
from consult.usecases import Consults
from imaging_common.auth import Claims

from .people import DOCTOR, EXPERT, STRANGER, STUDY, Desk

EHR = Claims("ehr-residents", "", frozenset({"ehr"}))


async def test_issued_report_is_found_by_its_study_for_parties_and_the_ehr(
    desk: Desk, consults: Consults, trail: Any
) -> None:
    case = await desk.to(State.DRAFTED)
    assert await consults.reports(EHR, [STUDY], None) == []
    await desk.do(EXPERT, case, Action.ISSUE)
    for claims in (DOCTOR, EXPERT, EHR):
        assert [one.id for one in await consults.reports(claims, [STUDY], None)] == [case.id]
        assert [one.id for one in await consults.reports(claims, [], case.id)] == [case.id]
    assert trail.published[-1][1].reason == "consult-reports"


@pytest.mark.parametrize("study", [STUDY.model_copy(update={"holder": "tertiary"}), Study(study_uid="9", holder="x")])
async def test_nobody_else_finds_it_and_no_other_study_does(desk: Desk, consults: Consults, study: Study) -> None:
    await desk.to(State.ISSUED)
    assert await consults.reports(STRANGER, [STUDY], None) == []
    assert await consults.reports(EHR, [study], "no-id") == []
    assert await consults.reports(EHR, [study], None) == []
