"""HTTP: who gets which status, and what a conflict says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from consult.api import build_api
from consult.api.discussion import build_discussion_api
from consult.api.files import build_attachments_api
from consult.settings import ConsultSettings
from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.http import create_app

from .conftest import Parts
from .people import DOCTOR, EXPERT, RIVAL, STRANGER, application

PEOPLE = {"doctor": DOCTOR, "expert": EXPERT, "rival": RIVAL, "stranger": STRANGER}
APPLICATION = application().model_dump(mode="json")
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
async def http(parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app("consult", ConsultSettings(), lifespan=lifespan, checks={})
    verifier = FakeVerifier("https://id.example", "imaging-cloud")
    more = [build_attachments_api(parts.attachments, verifier), build_discussion_api(parts.discussion, verifier)]
    app.include_router(build_api(parts.consults, parts.drafts, verifier, more))
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
    for action in ("accept", "claim", "read"):
        case = (await post(http, "expert", f"{path}/{action}", version=case["version"])).json()
    assert (case["roles"], "draft" in case["allowed"]) == (["consultant", "expert"], True)
    for revision in (0, 1):
        body = {"revision": revision, "text": REPORT}
        saved = await http.put(f"{path}/report/draft", json=body, headers=bearer("expert"))
        assert saved.json()["revision"] == revision + 1
    assert (await http.put(f"{path}/report/draft", json=body, headers=bearer("expert"))).status_code == 409
    before = (await http.get(path, headers=bearer("doctor"))).json()
    assert (before["report"], before["state"], before["allowed"]) == (None, "drafted", ["withdraw"])
    issued = await post(http, "expert", f"{path}/issue", version=before["version"])
    assert issued.json()["state"] == "issued"
    seen = (await http.get(path, headers=bearer("doctor"))).json()
    assert {name: seen["report"][name] for name in REPORT} == REPORT
    assert seen["allowed"] == ["acknowledge"]
    ended = await post(http, "doctor", f"{path}/acknowledge", version=seen["version"])
    assert ended.json()["state"] == "acknowledged"


async def test_draft_application_over_http(http: httpx.AsyncClient) -> None:
    made = await http.post("/consults?draft=true", json={"purpose": "请会诊"}, headers=bearer("doctor"))
    path = f"/consults/{made.json()['id']}"
    refused = await post(http, "doctor", f"{path}/submit", version=1)
    assert (refused.status_code, refused.json()["missing"]) == (422, made.json()["missing"])
    body = {"revision": 1, "application": APPLICATION}
    saved = await http.put(f"{path}/application", json=body, headers=bearer("doctor"))
    assert saved.json() == {"revision": 2, "missing": []}
    assert (await http.put(f"{path}/application", json=body, headers=bearer("doctor"))).status_code == 409
    headers = bearer("doctor") | {"X-File-Name": "%E5%90%8C%E6%84%8F.pdf", "Content-Type": "application/pdf"}
    added = await http.post(f"{path}/attachments?kind=consent", content=b"%PDF-1.7 scan", headers=headers)
    assert (added.status_code, added.json()["name"]) == (201, "同意.pdf")
    assert (await post(http, "doctor", f"{path}/submit", version=1)).json()["state"] == "submitted"
    file = await http.get(f"{path}/attachments/{added.json()['id']}", headers=bearer("expert"))
    assert (file.content, file.headers["content-type"]) == (b"%PDF-1.7 scan", "application/pdf")
    said = await post(http, "expert", f"{path}/comments", text="请补充", mentions=["doctor.community"])
    assert said.status_code == 201
    assert [one["text"] for one in (await http.get(f"{path}/comments", headers=bearer("doctor"))).json()] == ["请补充"]


async def test_conflict_names_who_won(http: httpx.AsyncClient) -> None:
    case = await apply(http)
    await post(http, "expert", f"/consults/{case['id']}/claim", version=1)
    lost = await post(http, "rival", f"/consults/{case['id']}/claim", version=1)
    assert lost.status_code == 409
    assert lost.headers["content-type"] == "application/problem+json"
    problem = lost.json()
    assert (problem["changed_by"], problem["state"], problem["version"]) == ("周敏", "assigned", 2)


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


async def test_study_that_the_applicant_may_not_see_is_refused(http: httpx.AsyncClient, parts: Parts) -> None:
    study = {"study_uid": "1.2.3", "holder": "secondary"}
    parts.access.closed.add(application(studies=[study]).studies[0])
    refused = await http.post("/consults", json=APPLICATION | {"studies": [study]}, headers=bearer("doctor"))
    assert refused.status_code == 403


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
