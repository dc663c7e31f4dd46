"""Experts: who is on duty when, who changes whose rows, and what the search finds."""

from datetime import UTC, datetime, timedelta

import pytest

from consult.adapters.fake_consults import FakeHospitalBook
from consult.adapters.kept_settings import FakeKeptSettings
from consult.errors import InvalidConsult, NotAllowed
from consult.experts import Expert, Experts, Hours
from consult.experts.usecases import Revised
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims
from imaging_common.messaging import FakePublisher
from imaging_common.people import FakeDirectory

from .people import COORDINATOR, DOCTOR, EXPERT, LEVELS, PEOPLE, PROFESSOR, RIVAL

REGION = Claims("operator.region", "", frozenset({"region-operator"}))
OWN = Claims("operator.secondary", "secondary", frozenset({"hospital-operator"}))
MONDAY = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
"""Noon in Shanghai."""


def make(now: datetime = MONDAY) -> Experts:
    audit = AuditTrail("consult", FakePublisher())
    return Experts(FakeKeptSettings(), FakeDirectory(*PEOPLE), FakeHospitalBook(**LEVELS), audit, Hours(), lambda: now)


@pytest.mark.parametrize(
    ("hours", "shift"),
    [(0, "0-day"), (5, "0-day"), (6, "0-night"), (12, "0-night"), (19, "0-night"), (20, "1-day"), (-5, "6-night")],
)
def test_night_belongs_to_the_day_it_begins_on(hours: int, shift: str) -> None:
    assert Hours().shift(MONDAY + timedelta(hours=hours)) == shift


async def test_operator_of_a_hospital_changes_its_rows_and_no_others() -> None:
    experts = make()
    row = Expert(user=PROFESSOR.user, subspecialties=["neuro"], duty=["0-day"])
    assert (await experts.keep(REGION, 0, [row]))[0] == 1
    revision, rows = await experts.listed(OWN)
    assert (revision, [one.user for one in rows]) == (1, [EXPERT.user, RIVAL.user])
    mine = [Expert(user=EXPERT.user, department="放射科", subspecialties=["chest", "chest"], duty=["0-day", "2-night"])]
    revision, rows = await experts.keep(OWN, 1, mine)
    kept = next(one for one in rows if one.user == EXPERT.user)
    assert (revision, kept.name, kept.hospital, kept.subspecialties) == (2, "周敏", "secondary", ["chest"])
    _, everybody = await experts.listed(REGION)
    assert {one.user: one.duty for one in everybody if one.duty} == {
        EXPERT.user: ["0-day", "2-night"],
        PROFESSOR.user: ["0-day"],
    }
    with pytest.raises(Revised):
        await experts.keep(OWN, 1, [])


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (Expert(user="nobody"), "row 2: there is no expert “nobody”"),
        (Expert(user=DOCTOR.user), "row 2: there is no expert"),
        (Expert(user=PROFESSOR.user), "row 2: “expert.tertiary” is not an expert of this hospital"),
        (Expert(user=RIVAL.user, hospital="tcm"), "not an expert of this hospital"),
        (Expert(user=EXPERT.user), "named twice"),
    ],
)
async def test_row_that_does_not_fit_is_named(row: Expert, says: str) -> None:
    with pytest.raises(InvalidConsult, match=says):
        await make().keep(OWN, 0, [Expert(user=EXPERT.user), row])


@pytest.mark.parametrize("claims", [DOCTOR, COORDINATOR, Claims("x", "", frozenset({"hospital-operator"}))])
async def test_list_is_the_operators(claims: Claims) -> None:
    with pytest.raises(NotAllowed):
        await make().listed(claims)
    with pytest.raises(NotAllowed):
        await make().keep(claims, 0, [])


@pytest.mark.parametrize("words", ["周敏", "zhoumin", "zhou", "zm", "fangsheke 周", "放射", "CHEST", "secondary zm"])
async def test_expert_is_found_by_name_pinyin_department_hospital_and_subspecialty(words: str) -> None:
    experts = make()
    row = Expert(user=EXPERT.user, department="放射科", subspecialties=["chest"], duty=["0-day"])
    await experts.keep(OWN, 0, [row])
    found = await experts.search(DOCTOR, words, "", "")
    assert [(one.user, one.name, one.department, one.on_duty) for one in found[:1]] == [
        (EXPERT.user, "周敏", "放射科", True)
    ]


async def test_search_is_of_one_hospital_or_department_and_for_people() -> None:
    experts = make()
    await experts.keep(OWN, 0, [Expert(user=RIVAL.user, department="放射科", duty=["0-day"])])
    assert [one.user for one in await experts.search(DOCTOR, "", "secondary", "")] == [RIVAL.user, EXPERT.user]
    assert [one.user for one in await experts.search(DOCTOR, "", "", "放射科")] == [RIVAL.user]
    assert await experts.search(DOCTOR, "nobody at all", "", "") == []
    with pytest.raises(NotAllowed):
        await experts.search(Claims("edge", "community", frozenset({"edge-agent"})), "", "", "")
