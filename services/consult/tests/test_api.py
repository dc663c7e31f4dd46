"""HTTP: who gets which status, and what a conflict says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from consult.api import build_api
from consult.settings import ConsultSettings
from consult.usecases import Consults
from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.http import create_app

PEOPLE = {
    "doctor": Claims("doctor.community", "community", frozenset({"doctor"}), "陈建国"),
    "expert": Claims("expert.secondary", "secondary", frozenset({"doctor", "expert"}), "周敏"),
    "rival": Claims("rival.secondary", "secondary", frozenset({"expert"}), "吴刚"),
    "stranger": Claims("doctor.tertiary", "tertiary", frozenset({"doctor", "expert"}), "郑洁"),
}
APPLICATION = {
    "consultant_hospital": "secondary",
    "studies": [{"study_uid": "1.2.3", "holder": "community"}],
    "purpose": "请会诊",
    "clinical_info": "咳嗽两周",
    "urgency": "urgent",
}
REPORT = {"findings": "右肺结节", "impression": "建议复查", "positive": True}


class FakeVerifier(TokenVerifier):
    """Takes a person's name as the token; `away` is a provider that does not answer."""

    async def verify(self, token: str) -> Claims:
        if token == "away":
            raise httpx.ConnectError("refused")
        if token not in PEOPLE:
            raise InvalidToken("the token's signature does not verify")
        return PEOPLE[token]


@pytest.fixture
async def http(consults: Consults) -> AsyncIterator[httpx.AsyncClient]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app("consult", ConsultSettings(), lifespan=lifespan, checks={})
    app.include_router(build_api(consults, FakeVerifier("https://id.example", "imaging-cloud")))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://consult") as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def apply(http: httpx.AsyncClient, key: str | None = None) -> dict[str, object]:
    headers = bearer("doctor") | ({"Idempotency-Key": key} if key else {})
    answer = await http.post("/consults", json=APPLICATION, headers=headers)
    assert answer.status_code == 201, answer.text
    consult: dict[str, object] = answer.json()
    assert answer.headers["location"] == f"/consults/{consult['id']}"
    return consult


async def post(http: httpx.AsyncClient, who: str, path: str, **body: object) -> httpx.Response:
    return await http.post(path, json=body, headers=bearer(who))


async def test_whole_case_over_http(http: httpx.AsyncClient) -> None:
    case = await apply(http)
    path = f"/consults/{case['id']}"
    case = (await post(http, "expert", f"{path}/accept", version=case["version"])).json()
    saved = await http.put(f"{path}/report", json={"version": case["version"], **REPORT}, headers=bearer("expert"))
    assert saved.status_code == 200
    assert (await http.get(path, headers=bearer("doctor"))).json()["report"] is None
    issued = await post(http, "expert", f"{path}/report/issue", version=saved.json()["version"])
    assert issued.json()["state"] == "issued"
    seen = (await http.get(path, headers=bearer("doctor"))).json()
    assert {name: seen["report"][name] for name in REPORT} == REPORT
    assert seen["report"]["issued_at"]
    ended = await post(http, "doctor", f"{path}/acknowledge", version=seen["version"])
    assert ended.json()["state"] == "acknowledged"
    assert [step["action"] for step in ended.json()["timeline"]] == [
        "submit",
        "accept",
        "draft",
        "issue",
        "acknowledge",
    ]


async def test_conflict_names_who_won(http: httpx.AsyncClient) -> None:
    case = await apply(http)
    await post(http, "expert", f"/consults/{case['id']}/accept", version=1)
    lost = await post(http, "rival", f"/consults/{case['id']}/accept", version=1)
    assert lost.status_code == 409
    assert lost.headers["content-type"] == "application/problem+json"
    problem = lost.json()
    assert (problem["changed_by"], problem["state"], problem["version"]) == ("周敏", "accepted", 2)


async def test_foreign_case_is_not_found(http: httpx.AsyncClient) -> None:
    case = await apply(http)
    answers = [
        await http.get(f"/consults/{case['id']}", headers=bearer("stranger")),
        await post(http, "stranger", f"/consults/{case['id']}/accept", version=1),
        await http.get("/consults/" + "0" * 32, headers=bearer("stranger")),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert len({answer.text for answer in answers}) == 1


async def test_case_of_the_house_that_is_not_theirs_to_change_is_forbidden(http: httpx.AsyncClient) -> None:
    case = await apply(http)
    answer = await post(http, "doctor", f"/consults/{case['id']}/accept", version=1)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), (bearer("nobody"), 401), ({"Authorization": "Basic ZG9jdG9y"}, 401), (bearer("away"), 503)],
)
async def test_only_a_verified_token_gets_in(http: httpx.AsyncClient, headers: dict[str, str], status: int) -> None:
    for answer in (
        await http.get("/consults", params={"box": "sent"}, headers=headers),
        await http.post("/consults", json=APPLICATION, headers=headers),
    ):
        assert answer.status_code == status


async def test_same_idempotency_key_makes_one_case(http: httpx.AsyncClient) -> None:
    first, again = await apply(http, "k1"), await apply(http, "k1")
    assert first["id"] == again["id"]
    other = {**APPLICATION, "purpose": "另一个问题"}
    answer = await http.post("/consults", json=other, headers=bearer("doctor") | {"Idempotency-Key": "k1"})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "change",
    [
        {"studies": []},
        {"studies": [{"study_uid": "1.2/../3", "holder": "community"}]},
        {"purpose": "  "},
        {"urgency": "whenever"},
        {"consultant_hospital": "nowhere"},
    ],
)
async def test_application_that_does_not_fit_is_refused(http: httpx.AsyncClient, change: dict[str, object]) -> None:
    answer = await http.post("/consults", json=APPLICATION | change, headers=bearer("doctor"))
    assert answer.status_code == 422


async def test_study_of_another_holder_is_refused(http: httpx.AsyncClient) -> None:
    foreign = APPLICATION | {"studies": [{"study_uid": "1.2.3", "holder": "secondary"}]}
    assert (await http.post("/consults", json=foreign, headers=bearer("doctor"))).status_code == 403


async def test_list_links_to_its_next_page(http: httpx.AsyncClient) -> None:
    numbers = [(await apply(http))["number"] for _ in range(5)]
    seen: list[str] = []
    path = "/consults?box=received&state=submitted&limit=2"
    for _ in range(3):
        answer = await http.get(path, headers=bearer("expert"))
        seen += [case["number"] for case in answer.json()]
        path = answer.links.get("next", {}).get("url", "")
    assert path == ""
    assert seen == numbers[::-1]
