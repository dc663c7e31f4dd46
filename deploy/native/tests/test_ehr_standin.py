"""The EHR stand-in without a region: its pages, its launches, its SMART server."""

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from imaging_native.ehr_standin.app import build_app
from imaging_native.ehr_standin.events import Subscription
from imaging_native.ehr_standin.settings import EhrSettings
from imaging_native.ehr_standin.texts import TEXTS

SETTINGS = EhrSettings(public_url="http://localhost:1", portal_url="http://127.0.0.1:2", oidc_issuer="http://id.test")
STUDY = {
    "resourceType": "ImagingStudy", "id": "1.2.3", "started": "2026-11-20T09:30:00+08:00", "description": "胸部平扫",
    "modality": [{"code": "CT"}], "location": {"display": "塘桥"}, "numberOfInstances": 120, "numberOfSeries": 1,
}  # fmt: skip
REPORT = {
    "resourceType": "DiagnosticReport", "id": "community.x", "status": "final", "issued": "2026-11-21T08:00:00Z",
    "code": {"text": "胸部 CT"}, "conclusion": "未见<异常>。", "imagingStudy": [{"reference": "ImagingStudy/1.2.3"}],
}  # fmt: skip


class Region:
    """Answers like the regional cloud; `asked` is what it was asked."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.away = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "id.test":
            return httpx.Response(200, json={"access_token": "t", "expires_in": 300})
        self.asked.append(request)
        if self.away:
            return httpx.Response(503)
        if request.url.path == "/launches":
            return httpx.Response(201, json={"code": "once", "expires_in": 60, "action": "http://127.0.0.1:2/launch"})
        found = {"ImagingStudy": STUDY, "DiagnosticReport": REPORT}.get(request.url.path.split("/")[-2], STUDY)
        return httpx.Response(200, json={"entry": [{"resource": found, "search": {"mode": "match"}}]})


@pytest.fixture
def region() -> Region:
    return Region()


@pytest.fixture
async def browser(region: Region, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at an EHR whose cloud is `region`."""
    original = httpx.AsyncClient
    cloud = original(transport=httpx.MockTransport(region))
    monkeypatch.setattr("imaging_native.ehr_standin.app.httpx.AsyncClient", lambda **_: cloud)
    app = build_app(SETTINGS)
    async with original(transport=httpx.ASGITransport(app), base_url=SETTINGS.public_url) as client:
        yield client


async def test_record_shows_studies_and_reports_and_never_runs_what_they_say(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/residents/R-0001")
    assert 'data-study="1.2.3"' in page.text
    assert "2026-11-20" in page.text
    assert "未见&lt;异常&gt;。" in page.text
    assert "frame-src http://127.0.0.1:2" in page.headers["content-security-policy"]
    assert (await browser.get("/residents/nobody")).status_code == 404
    english = await browser.get("/residents/R-0001", headers={"Cookie": "ehr-language=en"})
    assert "Examinations" in english.text


async def test_record_says_so_when_the_region_is_away(browser: httpx.AsyncClient, region: Region) -> None:
    region.away = True
    assert "ehr-away" in (await browser.get("/residents/R-0001")).text


async def test_images_are_asked_for_this_doctor_and_resident_only(browser: httpx.AsyncClient, region: Region) -> None:
    answer = await browser.post("/residents/R-0001/open", data={"study": "1.2.3"})
    assert answer.json() == {"code": "once", "action": "http://127.0.0.1:2/launch"}
    body = httpx.Response(200, content=region.asked[-1].content).json()
    assert (body["user"], body["resident"], body["show"]) == ("doctor.community", "R-0001", ["1.2.3"])
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert (await browser.post("/residents/R-0001/open", headers=foreign)).status_code == 403


async def test_order_asks_for_recent_examinations(browser: httpx.AsyncClient, region: Region) -> None:
    found = await browser.post("/residents/R-0001/recent", data={"modality": "CT", "part": "CHEST"})
    assert "ehr-reminder-open" in found.text
    assert region.asked[-1].url.path.endswith("$recent-examinations")
    assert "R-0001" not in str(region.asked[-1].url)


def test_both_languages_say_the_same_things() -> None:
    assert TEXTS["zh"].keys() == TEXTS["en"].keys()


async def test_event_tells_the_pages_of_its_resident_only() -> None:
    events = Subscription(SETTINGS)
    async with events.page("R-1") as mine, events.page("R-2") as other:
        events._tell("StudyChanged", {"study_uid": "1.2", "resident_id": "R-1"})
        events._tell("ReportIssued", {"studies": [{"study_uid": "1.2"}]})
        events._tell("StudyChanged", {"study_uid": "1.3", "resident_id": None})
        assert [mine.get_nowait(), mine.get_nowait(), mine.empty()] == ["StudyChanged", "ReportIssued", True]
        assert other.empty()


def question(launch: str) -> dict[str, str]:
    digest = hashlib.sha256(b"v" * 43).digest()
    return {
        "response_type": "code", "client_id": "regional-portal", "launch": launch, "state": "s", "nonce": "n",
        "redirect_uri": "http://127.0.0.1:2/smart/callback", "scope": "launch openid fhirUser everything",
        "aud": "http://localhost:1/fhir", "code_challenge_method": "S256",
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
    }  # fmt: skip


async def launched(browser: httpx.AsyncClient) -> str:
    answer = await browser.post("/residents/R-0001/smart", data={"study": "1.2.3"})
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["iss"] == ["http://localhost:1/fhir"]
    return query["launch"][0]


async def test_smart_launch_gives_the_context_once(browser: httpx.AsyncClient) -> None:
    back = await browser.get("/smart/authorize", params=question(await launched(browser)))
    code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "client_id": "regional-portal",
            "redirect_uri": "http://127.0.0.1:2/smart/callback", "code_verifier": "v" * 43}  # fmt: skip
    answer: dict[str, Any] = (await browser.post("/smart/token", data=form)).json()
    assert (answer["patient"], answer["scope"]) == ("R-0001", "launch openid fhirUser")
    keys = KeySet.import_key_set((await browser.get("/smart/jwks")).json())
    claims = jwt.decode(answer["id_token"], keys, algorithms=["ES256"]).claims
    assert claims["fhirUser"].endswith("/Practitioner/doctor.community")
    assert claims["nonce"] == "n"
    assert (await browser.post("/smart/token", data=form)).status_code == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"aud": "http://elsewhere"}, "invalid_request"), ({"code_challenge_method": "plain"}, "invalid_request"),
     ({"launch": "guessed"}, "access_denied"), ({"response_type": "token"}, "unsupported_response_type")],
)  # fmt: skip
async def test_smart_refuses(browser: httpx.AsyncClient, changes: dict[str, str], error: str) -> None:
    asked = question(await launched(browser)) | changes
    answer = await browser.get("/smart/authorize", params=asked)
    assert parse_qs(urlsplit(answer.headers["location"]).query)["error"] == [error]
    elsewhere = await browser.get("/smart/authorize", params=asked | {"redirect_uri": "http://evil.test/"})
    assert elsewhere.status_code == 400


async def test_verifier_of_another_is_refused(browser: httpx.AsyncClient) -> None:
    back = await browser.get("/smart/authorize", params=question(await launched(browser)))
    code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "client_id": "regional-portal",
            "redirect_uri": "http://127.0.0.1:2/smart/callback", "code_verifier": "w" * 43}  # fmt: skip
    assert (await browser.post("/smart/token", data=form)).status_code == 400
