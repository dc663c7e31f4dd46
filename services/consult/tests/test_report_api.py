"""The HTTP of reports: what the portal reads, and what anybody may ask about a code."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from consult.api import build_api
from consult.model import State
from consult.reports.api import build_reports_api
from consult.settings import ConsultSettings
from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.http import create_app

from .people import DOCTOR, EXPERT, STRANGER
from .test_report_outputs import Region, region

__all__ = ["region"]
PEOPLE = {"doctor": DOCTOR, "expert": EXPERT, "stranger": STRANGER}


class FakeVerifier(TokenVerifier):
    """Takes a person's name as the token."""

    async def verify(self, token: str) -> Claims:
        if token not in PEOPLE:
            raise InvalidToken("the token's signature does not verify")
        return PEOPLE[token]


@pytest.fixture
async def http(region: Region) -> AsyncIterator[httpx.AsyncClient]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app("consult", ConsultSettings(), lifespan=lifespan, checks={})
    verifier = FakeVerifier("https://id.example", "imaging-cloud")
    parts = [build_reports_api(region.reports, verifier)]
    app.include_router(build_api(region.desk.consults, region.desk.drafts, verifier, parts))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://consult") as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_versions_are_read_over_http_with_what_was_made_of_them(region: Region, http: httpx.AsyncClient) -> None:
    case = await region.issued()
    path = f"/consults/{case.id}/reports"
    assert (await http.get(f"{path}/1/pdf", headers=bearer("doctor"))).status_code == 404
    await region.work()
    (version,) = (await http.get(path, headers=bearer("doctor"))).json()
    assert (version["version"], version["outputs"]["delivery"]) == (1, "requested")
    pdf = await http.get(f"{path}/1/pdf", headers=bearer("expert"))
    assert (pdf.headers["content-type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
    assert pdf.headers["content-disposition"] == f"inline; filename*=UTF-8''{case.number}-v1.pdf"
    assert (await http.get(f"{path}/1/difference/1", headers=bearer("doctor"))).json()["fields"]
    assert (await http.post(f"{path}/1/retry", json={}, headers=bearer("doctor"))).json()["version"] == 1
    for address in (path, f"{path}/1", f"{path}/1/pdf", f"{path}/1/difference/1"):
        assert (await http.get(address, headers=bearer("stranger"))).status_code == 404
        assert (await http.get(address)).status_code == 401
    assert (await http.get(f"{path}/0", headers=bearer("doctor"))).status_code == 422


async def test_anybody_checks_a_code_and_learns_nothing_of_the_content(region: Region, http: httpx.AsyncClient) -> None:
    case = await region.desk.to(State.ISSUED)
    assert case.report is not None
    known = await http.get(f"/consults/verify/{case.report.verification_code}")
    assert known.json()["number"] == case.number
    assert "结节" not in known.text
    assert (await http.get("/consults/verify/AAAAA-AAAAA-AAAAA-AAAAA")).status_code == 404


async def test_templates_and_phrases_are_for_whoever_signed_in(http: httpx.AsyncClient) -> None:
    found = await http.get("/consults/templates?modality=CT&body_part=CHEST", headers=bearer("expert"))
    assert {"findings", "impression"} <= found.json()[0]["text"].keys()
    assert (await http.get("/consults/templates")).status_code == 401
    phrases = {"phrases": [{"short": "肺正", "text": "两肺未见异常"}]}
    assert (await http.put("/consults/phrases", json=phrases, headers=bearer("expert"))).json() == phrases
    assert (await http.get("/consults/phrases", headers=bearer("expert"))).json() == phrases
    assert (await http.get("/consults/phrases", headers=bearer("doctor"))).json() == {"phrases": []}
    long = {"phrases": [{"short": "x" * 21, "text": "y"}]}
    assert (await http.put("/consults/phrases", json=long, headers=bearer("expert"))).status_code == 422
