"""The routing table: what it chooses for the committed cases, who may change it, what becomes of a submitted case."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from consult.adapters.fake_consults import FakeHospitalBook
from consult.adapters.kept_settings import FakeKeptSettings
from consult.api import build_api
from consult.errors import InvalidConsult, NotAllowed
from consult.experts import Experts, Hours, build_experts_api
from consult.experts.model import Expert
from consult.experts.usecases import Revised
from consult.model import Action, Consult, State, Target, TargetKind
from consult.ports import Facts
from consult.routing import Routing, RoutingJoiner, build_routing_api
from consult.routing.facts import group_of, groups_of, named_in, subspecialty_of
from consult.routing.loads import FakeLoads
from consult.routing.model import Candidate, Row, Situation, Supply, decide, default_rows
from consult.settings import ConsultSettings
from consult.usecases import Consults, Drafts
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import create_app
from imaging_common.people import FakeDirectory

from .conftest import Parts, make_parts
from .people import COORDINATOR, DOCTOR, EXPERT, LEVELS, OUTSIDER, PEOPLE, PROFESSOR, RIVAL, STRANGER, Desk, application

GIVEN: dict[str, Any] = json.loads(Path(__file__).with_name("routing_cases.json").read_text("utf-8"))
OPERATOR = Claims("operator.region", "", frozenset({"region-operator"}))
MONDAY = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
AUTO = TargetKind.AUTO
ROW = ("name", "level", "subspecialty", "modality", "body_part", "urgency", "hospital", "department", "expert")


class FakeVerifier(TokenVerifier):
    """Takes a part for a token."""

    async def verify(self, token: str) -> Claims:
        return {"operator": OPERATOR, "doctor": DOCTOR}[token]


def supply_of(one: dict[str, Any]) -> Supply:
    on_duty, open_cases = one.get("on_duty", GIVEN["on_duty"]), one.get("open", {})
    candidates = [
        Candidate(
            user, user.title(), known["hospital"], known["department"], frozenset(known["subspecialties"]),
            user in on_duty, user not in one.get("unrostered", []), open_cases.get(user, 0),
        )
        for user, known in GIVEN["experts"].items()
    ]  # fmt: skip
    return Supply(one.get("levels", GIVEN["levels"]), candidates, one.get("hospitals_open", {}))


@pytest.mark.parametrize("one", GIVEN["cases"], ids=lambda one: one["name"])
def test_table_chooses_what_the_committed_case_expects(one: dict[str, Any]) -> None:
    told: dict[str, Any] = {
        name: frozenset(value) if isinstance(value, list) else value for name, value in one["case"].items()
    }
    rows = [Row.model_validate(row) for row in GIVEN["tables"][one["table"]]]
    supply = supply_of(one)
    decision = decide(rows, Situation(**told), supply)
    chosen = decision.chosen
    found = [chosen.consultant_hospital, chosen.department, chosen.expert] if chosen else None
    assert (decision.row, found) == (one["row"], one["chosen"])
    against = {why.row: list(why.reasons) for why in decision.why}
    assert {row: against[row] for row in one.get("against", {})} == one.get("against", {})
    assert all(why.fits == (not why.reasons) for why in decision.why)
    shuffled = replace(supply, candidates=supply.candidates[::-1], levels=dict(list(supply.levels.items())[::-1]))
    assert decide(rows, Situation(**told), shuffled) == decision


def test_default_table_has_a_row_for_each_level_that_has_one_above() -> None:
    assert [row.name for row in default_rows({"a": "community", "b": "tertiary"})] == ["community → tertiary"]
    assert [row.level for row in default_rows(LEVELS)] == ["community", "secondary", "tertiary"]
    assert default_rows({"a": "tertiary"}) == []


@pytest.mark.parametrize(
    ("said", "groups", "subspecialty"),
    [
        (["LUNG"], {"CHEST"}, "chest"),
        (["brain"], {"HEAD"}, "neuro"),
        (["ABDOMENPELVIS"], {"ABDOMEN", "PELVIS"}, "abdomen"),
        (["HIP"], {"LOWEREXTREMITY"}, "musculoskeletal"),
        (["WHOLEBODY"], set(), ""),
        ([], set(), ""),
    ],
)
def test_body_parts_belong_to_groups_and_to_a_subspecialty(
    said: list[str], groups: set[str], subspecialty: str
) -> None:
    assert groups_of(said) == groups
    assert subspecialty_of([], groups) == subspecialty


def test_words_of_the_application_tell_where_the_studies_do_not() -> None:
    assert named_in(["胸部CT平扫", "头颅MR"]) == {"CHEST", "HEAD"}
    assert subspecialty_of(["MG"], []) == "breast"
    assert (group_of("lung"), group_of("CHEST"), group_of("TAIL"), group_of("")) == ("CHEST", "CHEST", "TAIL", "")


class Region(Parts):
    """The service with a table and a roster."""

    routing: Routing
    experts: Experts


@pytest.fixture
def region() -> Region:
    """Two experts of the secondary hospital are on duty, and one of each tertiary hospital."""
    parts = Region(**vars(make_parts()))
    kept, audit, directory = FakeKeptSettings(), AuditTrail("consult", parts.trail), FakeDirectory(*PEOPLE)
    hospitals = FakeHospitalBook(**LEVELS)
    parts.experts = Experts(kept, directory, hospitals, audit, Hours(), lambda: MONDAY)
    loads = FakeLoads(parts.store.consults)
    parts.routing = Routing(kept, parts.experts, directory, hospitals, loads, parts.access, audit, 3)
    joiner = RoutingJoiner(parts.routing, parts.experts, directory, hospitals)
    parts.consults = Consults(parts.store, hospitals, audit, directory, parts.policies, parts.access, [joiner])
    parts.drafts = Drafts(parts.store, parts.consults)
    parts.desk = Desk(parts.consults, parts.drafts)
    rows = [
        Expert(user=one.user, hospital=one.hospital, department="放射科", subspecialties=["chest"], duty=["0-day"])
        for one in (EXPERT, RIVAL, PROFESSOR, STRANGER)
    ]
    kept.kept["experts"] = (1, {"experts": [row.model_dump() for row in rows]})
    return parts


async def auto(region: Region, **changes: Any) -> Consult:
    empty = {"target_kind": AUTO, "consultant_hospital": ""}
    return await region.desk.apply(**(empty | changes))


async def test_right_one_is_one_level_up_before_anybody_wrote_a_table(region: Region) -> None:
    case = await auto(region)
    assert (case.consultant_hospital, case.nominee, case.department) == ("secondary", EXPERT.user, "放射科")
    assert (case.routed_by, case.timeline[-1].about) == ("community → secondary", "community → secondary")
    assert (case.by_name, case.state, case.target_kind) == (False, State.SUBMITTED, AUTO)
    assert (await region.consults.get(COORDINATOR, case.id)).id == case.id


async def test_expert_with_fewer_open_cases_gets_the_next_one(region: Region) -> None:
    nominees = [(await auto(region)).nominee for _ in range(6)]
    assert nominees == [EXPERT.user, RIVAL.user] * 3
    assert ((await auto(region)).nominee, (await auto(region)).consultant_hospital) == ("", "secondary")


async def test_facts_of_the_studies_choose_the_row(region: Region) -> None:
    rows = [Row(name="乳腺", modality="mg", hospital="tcm"), Row(name="肺", body_part="LUNG", hospital="tertiary")]
    await region.routing.keep(OPERATOR, 0, rows)
    region.access.known = Facts(frozenset({"MG"}), frozenset({"BREAST"}))
    assert ((await auto(region)).routed_by, (await auto(region)).consultant_hospital) == ("乳腺", "tcm")
    region.access.known = Facts(frozenset({"DX"}), frozenset({"THORAX"}))
    case = await auto(region)
    assert (case.routed_by, case.nominee, case.modalities) == ("肺", PROFESSOR.user, ["DX"])
    region.access.known = Facts()
    assert (await auto(region, examination_items=["胸部CT平扫"])).routed_by == "肺"
    with pytest.raises(InvalidConsult, match="no row"):
        await auto(region, examination_items=["膝关节MR"])


async def test_draft_is_routed_when_it_is_submitted_by_what_its_last_save_found(region: Region) -> None:
    await region.routing.keep(OPERATOR, 0, [Row(name="CT", modality="CT", hospital="tcm")])
    empty = application(target_kind=AUTO, consultant_hospital="", studies=[])
    case = await region.consults.apply(DOCTOR, empty, None, token="-", draft=True)
    region.access.known = Facts(frozenset({"CT"}))
    whole = application(target_kind=AUTO, consultant_hospital="")
    await region.consults.save_application(DOCTOR, case.id, 1, whole, "-")
    assert (await region.desk.do(DOCTOR, case, Action.SUBMIT)).consultant_hospital == "tcm"


async def test_returned_case_goes_back_to_whom_the_table_chose(region: Region) -> None:
    case = await auto(region)
    case = await region.desk.do(EXPERT, case, Action.RETURN)
    again = application(target_kind=AUTO, consultant_hospital="", history="补充：吸烟二十年")
    await region.consults.save_application(DOCTOR, case.id, 1, again, "-")
    case = await region.desk.do(DOCTOR, case, Action.SUBMIT)
    assert (case.consultant_hospital, case.nominee, case.history) == ("secondary", EXPERT.user, "补充：吸烟二十年")


async def test_escalated_case_finds_the_right_one_above(region: Region) -> None:
    region.access.known = Facts(frozenset({"CT"}), frozenset({"CHEST"}))
    case = await region.desk.to(State.READING)
    case = await region.desk.do(EXPERT, case, Action.ESCALATE, target=None)
    child = region.store.consults[case.children[0]]
    assert (child.consultant_hospital, child.nominee, child.routed_by) == ("tcm", STRANGER.user, "secondary → tertiary")
    assert (child.timeline[0].about, child.modalities) == (case.number, ["CT"])
    target = Target(target_kind=TargetKind.EXPERT, nominee=PROFESSOR.user)
    case = await region.desk.do(EXPERT, case, Action.ESCALATE, target=target)
    named = region.store.consults[case.children[1]]
    assert (named.consultant_hospital, named.by_name) == ("tertiary", True)
    target = Target(target_kind=TargetKind.DEPARTMENT, department="放射科")
    case = await region.desk.do(EXPERT, case, Action.ESCALATE, target=target)
    assert region.store.consults[case.children[2]].consultant_hospital in ("tcm", "tertiary")
    for target in (
        Target(target_kind=TargetKind.DEPARTMENT, department="不存在科"),
        Target(target_kind=TargetKind.EXPERT, nominee="nobody"),
        Target(target_kind=TargetKind.EXPERT, nominee=DOCTOR.user),
        Target(target_kind=TargetKind.EXPERT, nominee=OUTSIDER.user),
    ):
        with pytest.raises(InvalidConsult):
            await region.desk.do(EXPERT, case, Action.ESCALATE, target=target)


async def test_named_expert_is_of_the_hospital_that_is_asked(region: Region) -> None:
    with pytest.raises(InvalidConsult, match="not of the hospital"):
        await region.desk.apply(target_kind=TargetKind.EXPERT, nominee=PROFESSOR.user)
    case = await region.desk.apply(target_kind=TargetKind.EXPERT, nominee=EXPERT.user)
    assert (case.consultant_hospital, case.by_name) == ("secondary", True)


async def test_table_is_replaced_by_who_saw_its_last_revision(region: Region) -> None:
    revision, rows = await region.routing.table(OPERATOR)
    assert (revision, [row.level for row in rows]) == (0, ["community", "secondary", "tertiary"])
    assert (await region.routing.keep(OPERATOR, 0, rows))[0] == 1
    with pytest.raises(Revised):
        await region.routing.keep(OPERATOR, 0, [])
    assert (await region.routing.keep(OPERATOR, 1, []))[0] == 2
    assert await region.routing.table(OPERATOR) == (2, [])
    with pytest.raises(NotAllowed):
        await region.routing.table(DOCTOR)
    with pytest.raises(NotAllowed):
        await region.routing.keep(COORDINATOR, 2, [])


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"hospital": "closed"}, "not registered"),
        ({"department": "放射科"}, "name the hospital"),
        ({"hospital": "secondary", "expert": "nobody"}, "no expert of this hospital"),
        ({"hospital": "secondary", "expert": PROFESSOR.user}, "no expert of this hospital"),
        ({"hospital": "outside"}, "a named expert"),
    ],
)
async def test_row_that_leads_nowhere_is_named(region: Region, row: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidConsult, match=f"row 2 .“胸部”.*{says}"):
        await region.routing.keep(OPERATOR, 0, [Row(name="其余"), Row.model_validate({"name": "胸部", **row})])


async def test_application_is_tried_as_it_is_written_now(region: Region) -> None:
    written = application(target_kind=AUTO, consultant_hospital="", subspecialty="chest")
    found = await region.routing.try_application(DOCTOR, written, "-")
    assert found.chosen is not None
    assert (found.row, found.chosen.expert, found.chosen.expert_name) == ("community → secondary", EXPERT.user, "周敏")
    with pytest.raises(NotAllowed):
        await region.routing.try_case(Claims("edge", "community", frozenset({"edge-agent"})), Situation("community"))


async def test_shapes_over_http_are_those_of_the_portals_pages(region: Region) -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app("consult", ConsultSettings(), lifespan=lifespan, checks={})
    verifier = FakeVerifier("https://id.example", "imaging-cloud")
    more = [build_routing_api(region.routing, verifier), build_experts_api(region.experts, verifier)]
    app.include_router(build_api(region.consults, region.drafts, verifier, more))
    operator, doctor = ({"Authorization": f"Bearer {who}"} for who in ("operator", "doctor"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://consult/consults") as http:
        table = (await http.get("/routing", headers=operator)).json()
        assert set(table["rows"][0]) == set(ROW)
        assert (await http.put("/routing", json=table, headers=operator)).json() == table | {"revision": 1}
        assert (await http.put("/routing", json=table, headers=operator)).status_code == 409
        assert (await http.get("/routing", headers=doctor)).status_code == 403
        wrong = {"revision": 1, "rows": [{"name": "x", "hospital": "closed"}]}
        refused = await http.put("/routing", json=wrong, headers=operator)
        assert (refused.status_code, refused.json()["missing"]) == (422, ["rows"])
        case = {"level": "community", "subspecialty": "", "modality": "", "body_part": "LUNG", "urgency": ""}
        assert (await http.post("/routing/try", json={"case": case}, headers=operator)).json() == {
            "row": "community → secondary",
            "chosen": {
                "consultant_hospital": "secondary",
                "department": "放射科",
                "expert": EXPERT.user,
                "expert_name": "周敏",
            },
            "why": [
                {"row": "community → secondary", "fits": True, "reasons": []},
                {"row": "secondary → tertiary", "fits": False, "reasons": ["level"]},
                {"row": "tertiary → outside", "fits": False, "reasons": ["level"]},
            ],
        }
        listed = (await http.get("/experts", headers=operator)).json()
        assert set(listed["experts"][0]) == {"user", "name", "hospital", "department", "subspecialties", "duty"}
        again = await http.put("/experts", json=listed, headers=operator)
        assert again.json() == listed | {"revision": listed["revision"] + 1}
        found = (await http.get("/experts/search", params={"q": "zm"}, headers=doctor)).json()
        assert found == [
            {
                "user": EXPERT.user,
                "name": "周敏",
                "hospital": "secondary",
                "department": "放射科",
                "subspecialties": ["chest"],
                "on_duty": True,
            }
        ]
