"""Policies: who may set which, what counts where nothing is set, and when a report is read twice."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from consult.adapters.fake_consults import FakeHospitalBook
from consult.adapters.kept_settings import FakeKeptSettings
from consult.errors import NotAllowed, NotFound
from consult.experts.usecases import Revised
from consult.model import ReportText, State
from consult.policies import HospitalPolicies, Policy, build_policies_api
from consult.policies.model import REGION, Limits, minutes_of
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims
from imaging_common.messaging import FakePublisher

from .conftest import Parts
from .people import COORDINATOR, DOCTOR, EXPERT, LEVELS
from .serving import Tokens, bearer, served

REGION_OPERATOR = Claims("operator.region", "", frozenset({"region-operator"}))
OWN = Claims("operator.secondary", "secondary", frozenset({"hospital-operator"}))
FOREIGN = Claims("operator.tertiary", "tertiary", frozenset({"hospital-operator"}))


@pytest.fixture
def policies() -> HospitalPolicies:
    return HospitalPolicies(
        FakeKeptSettings(), FakeHospitalBook(**LEVELS), AuditTrail("consult", FakePublisher()), minute_seconds=60
    )


async def test_policy_is_kept_when_nobody_else_was_faster(policies: HospitalPolicies) -> None:
    assert await policies.policy(OWN, "secondary") == (0, Policy())
    policy = Policy(second_reader="always", limits={"urgent": {"secondary": Limits(accept=5)}})
    assert await policies.keep(OWN, "secondary", 0, policy) == (1, policy)
    with pytest.raises(Revised):
        await policies.keep(REGION_OPERATOR, "secondary", 0, Policy())
    assert await policies.policy(REGION_OPERATOR, "secondary") == (1, policy)
    assert await policies.policy(REGION_OPERATOR, "tertiary") == (0, Policy())


@pytest.mark.parametrize("claims", [DOCTOR, EXPERT, COORDINATOR, FOREIGN])
async def test_policy_is_nobody_elses(policies: HospitalPolicies, claims: Claims) -> None:
    with pytest.raises(NotAllowed):
        await policies.policy(claims, "secondary")
    with pytest.raises(NotAllowed):
        await policies.keep(claims, "secondary", 0, Policy())


async def test_policy_of_unknown_hospital_does_not_exist(policies: HospitalPolicies) -> None:
    with pytest.raises(NotFound):
        await policies.keep(REGION_OPERATOR, "nowhere", 0, Policy())


@pytest.mark.parametrize(
    "wrong",
    [
        {"second_reader": "sometimes"},
        {"second_reader": "by-modality"},
        {"second_reader_modalities": ["ct"]},
        {"limits": {"soon": {}}},
        {"limits": {"urgent": {"village": {}}}},
        {"limits": {"urgent": {"secondary": {"accept": 0}}}},
        {"limits": {"urgent": {"secondary": {"accept": 1.5}}}},
        {"limits": {"urgent": {"secondary": {"accept": 60, "report": 30}}}},
        {"limits": {"urgent": {"secondary": {"critical": 30}}}},
    ],
)
def test_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate(wrong)


def test_regions_minutes_count_where_the_hospital_has_set_none() -> None:
    policy = Policy(limits={"routine": {"secondary": Limits(opinion=700)}})
    assert minutes_of(policy, "routine", "secondary") == (480, 700, 2880)
    assert minutes_of(policy, "routine", "tertiary") == REGION["routine"]
    assert minutes_of(policy, "urgent", "secondary") == REGION["urgent"]
    assert minutes_of(policy, "routine", "outside") == tuple(3 * one for one in REGION["routine"])
    assert minutes_of(policy, "emergency", "outside") == REGION["emergency"]


async def test_spans_are_those_of_the_hospital_that_is_asked(parts: Parts, policies: HospitalPolicies) -> None:
    case = await parts.desk.apply(urgency="emergency", applicant_phone="1")
    spans = await policies.spans(case)
    assert [spans[name] for name in ("accept", "opinion", "report", "critical")] == [
        timedelta(minutes=one) for one in (10, 30, 60, 30)
    ]
    assert await policies.spans(case.model_copy(update={"consultant_hospital": ""})) == {}


@pytest.mark.parametrize(
    ("policy", "modalities", "critical", "needed"),
    [
        ({"second_reader": "never"}, ["CT"], True, False),
        ({"second_reader": "always"}, ["CT"], False, True),
        ({"second_reader": "by-modality", "second_reader_modalities": ["MG", "MR"]}, ["CT", "MR"], False, True),
        ({"second_reader": "by-modality", "second_reader_modalities": ["MG"]}, ["CT"], True, False),
        ({"second_reader": "by-modality", "second_reader_modalities": ["MG"]}, [], False, True),
        ({"second_reader": "critical"}, ["CT"], True, True),
        ({"second_reader": "critical"}, ["CT"], False, False),
    ],
)
async def test_second_reader_is_needed_as_the_policy_says(
    parts: Parts,
    policies: HospitalPolicies,
    policy: dict[str, Any],
    modalities: list[str],
    critical: bool,
    needed: bool,
) -> None:
    await policies.keep(OWN, "secondary", 0, Policy.model_validate(policy))
    case = (await parts.desk.to(State.READING)).model_copy(update={"modalities": modalities})
    assert await policies.second_reader_required(case, ReportText(critical=critical)) is needed
    other = case.model_copy(update={"consultant_hospital": "tertiary"})
    assert await policies.second_reader_required(other, ReportText(critical=True)) is False
    assert await policies.second_reader_required(case, None) is (needed and policy["second_reader"] != "critical")


async def test_policy_goes_over_http_as_the_portal_writes_it(policies: HospitalPolicies) -> None:
    async with served(build_policies_api(policies, Tokens(own=OWN, foreign=FOREIGN, region=REGION_OPERATOR))) as http:
        path, body = "/consults/policies/secondary", {"revision": 0, "limits": {"urgent": {"secondary": {"accept": 5}}}}
        first = await http.get(path, headers=bearer("own"))
        blank = {"revision": 0, "second_reader": "never", "second_reader_modalities": [], "limits": {}}
        names = {"name_zh": "", "name_en": "", "address": "", "phone": ""}
        assert (first.status_code, first.json()) == (200, {**blank, "letterhead": names})
        kept = await http.put(path, json=body, headers=bearer("region"))
        assert (kept.status_code, kept.json()["revision"], kept.json()["limits"]) == (200, 1, body["limits"])
        assert (await http.put(path, json=body, headers=bearer("own"))).status_code == 409
        assert (await http.put(path, json=body, headers=bearer("foreign"))).status_code == 403
        assert (await http.put("/consults/policies/nowhere", json=body, headers=bearer("region"))).status_code == 404
        wrong = {"revision": 1, "second_reader": "by-modality"}
        refused = await http.put(path, json=wrong, headers=bearer("own"))
        assert (refused.status_code, "name the modalities" in refused.text) == (422, True)
        assert (await http.get(path)).status_code == 401
