"""The EHR's window: a single-use code, a cookie of its own, and nothing but what the launch names."""

import asyncio
import time
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.api.windows import is_this_machine
from gateway.grants.model import Ehr
from imaging_common.access import StudyRef

JSON = {"Accept": "application/dicom+json"}
EHR_ORIGIN = "https://ehr.test"
BEARER = {"Authorization": "Bearer bearer-ehr-residents"}
ASKED = {"user": "dr.zhao", "name": "赵医生", "resident": "R-1", "purpose": "TREAT"}


@pytest.fixture
def world(world: Any, tmp_path: Path) -> Any:
    """A portal by https, with one registered EHR and a resident known at two hospitals by two merged ids."""
    ehrs = [Ehr(client_id="ehr-residents", origins=[EHR_ORIGIN])]
    made = type(world)(tmp_path, public_url="https://portal.test", ehrs=ehrs)
    made.add_study("1.2.3", "community", resident_id="R-1")
    made.add_study("1.2.4", "tertiary", resident_id="R-0", study_date="20261101")
    made.add_study("1.2.5", "tertiary", resident_id="R-2")
    made.reader.put("merges", {"_id": "R-0", "into": "R-1", "revision": 1})
    return made


async def code_for(browser: httpx.AsyncClient, **more: Any) -> str:
    """What the EHR's server gets."""
    answer = await browser.post("/launches", json=ASKED | more, headers=BEARER)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["expires_in"] <= 60
    assert body["action"] == "https://portal.test/launch"
    return str(body["code"])


async def enter(browser: httpx.AsyncClient, code: str, **headers: str) -> httpx.Response:
    """The EHR's page posts the code into its frame."""
    cross_site = {"Origin": EHR_ORIGIN, "Sec-Fetch-Site": "cross-site", **headers}
    return await browser.post("/launch", data={"code": code}, headers=cross_site)


async def test_code_opens_the_resident_at_every_holder_and_nothing_else(world: Any) -> None:
    async with world.browser() as ehr, world.browser() as frame:
        page = await enter(frame, await code_for(ehr))
        assert page.status_code == 200
        assert "/viewer?StudyInstanceUIDs=1.2.3" in page.text
        grant = next(iter(world.access_grants.grants))
        assert (await frame.get("/launch/here")).json() == {"grants": [grant]}
        for uid, status in (("1.2.3", 204), ("1.2.4", 204), ("1.2.5", 404)):
            found = await frame.get(f"/dicomweb/studies/{uid}/series", headers=JSON)
            assert found.status_code == status, uid
        rows = (await frame.get("/dicomweb/studies", headers=JSON)).json()
        assert {row["0020000D"]["Value"][0] for row in rows} == {"1.2.3", "1.2.4"}
        assert (await frame.get("/viewer?StudyInstanceUIDs=1.2.3")).status_code == 200
        assert (await frame.get("/portal/studies/community/1.2.3/reports")).status_code == 200
        for path in (
            "/portal/studies",
            "/portal/shares",
            "/portal/break-glass",
            "/portal/notices",
            "/",
            "/portal/home",
        ):
            closed = await frame.get(path)
            assert closed.status_code == 403, path
            assert 'data-error="error.window"' in closed.text
        assert (await frame.get("/portal/events", headers={"Accept": "text/event-stream"})).status_code == 403
    launched = [record for record in world.audited if record.action == "launch"]
    assert [(r.outcome, r.user, r.resident_id, r.source, r.purpose) for r in launched] == [
        ("success", "dr.zhao", "R-1", "ehr-residents", "TREAT")
    ]
    views = [record for record in world.audited if record.study_uid == "1.2.3"]
    assert {record.reason for record in views} == {"launch"}


async def test_cookie_comes_back_from_a_frame_alone(world: Any) -> None:
    async with world.browser() as ehr, world.browser() as frame:
        page = await enter(frame, await code_for(ehr))
    (cookie,) = page.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-launch=")
    assert {"HttpOnly", "Secure", "SameSite=None", "Partitioned", "Path=/"} <= set(cookie.split("; "))
    assert page.headers["content-security-policy"].endswith(f"frame-ancestors 'self' {EHR_ORIGIN}")
    assert (await world.browser().get("/portal/welcome")).headers["content-security-policy"].endswith("'self'")


async def test_of_fifty_exchanges_one_wins_and_the_others_are_written_down(world: Any) -> None:
    async with world.browser() as ehr:
        code = await code_for(ehr)
        answers = await asyncio.gather(*(enter(world.browser(), code) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 49
    assert len(world.access_grants.grants) == 1
    replays = [record for record in world.audited if record.reason == "code-replayed"]
    assert len(replays) == 49
    assert {(r.action, r.outcome, r.grant_id) for r in replays} == {
        ("launch", "denied", next(iter(world.access_grants.grants)))
    }
    assert 'data-key="launch.used"' in next(a for a in answers if a.status_code == 409).text


async def test_code_that_is_late_unknown_or_from_a_foreign_page_opens_nothing(world: Any) -> None:
    async with world.browser() as ehr, world.browser() as frame:
        late = await code_for(ehr)
        kept = next(iter(world.access_grants.codes.values()))
        world.access_grants.codes[kept.key] = kept.model_copy(update={"expires_at": datetime.now(UTC)})
        assert (await enter(frame, late)).status_code == 410
        assert (await enter(frame, "guessed")).status_code == 410
        for origin in ("https://evil.test", "null"):
            assert (await enter(frame, await code_for(ehr), Origin=origin)).status_code == 403
        assert (await frame.get("/launch/here")).json() == {"grants": []}
    assert world.access_grants.grants == {}
    reasons = [record.reason for record in world.audited if record.action == "launch"]
    assert reasons == ["code-unknown-or-expired", "code-unknown-or-expired", "foreign-origin", "foreign-origin"]


async def test_second_code_opens_the_same_launch_in_a_new_tab_once(world: Any) -> None:
    async with world.browser() as ehr, world.browser() as frame, world.browser() as tab:
        page = await enter(frame, await code_for(ehr))
        again = page.text.split('name="code" value="')[1].split('"')[0]
        own = {"Origin": "https://portal.test", "Sec-Fetch-Site": "same-origin"}
        opened = await tab.post("/launch", data={"code": again}, headers=own)
        assert opened.status_code == 200
        assert 'name="code"' not in opened.text
        assert len((await tab.get("/launch/here")).json()["grants"]) == 1
        assert (await tab.post("/launch", data={"code": again}, headers=own)).status_code == 409
    assert len(world.access_grants.grants) == 1


async def test_window_ends_exactly_at_its_time_even_when_remembered(world: Any) -> None:
    async with world.browser() as ehr, world.browser() as frame:
        await enter(frame, await code_for(ehr))
        (session,) = world.sessions.sessions.values()
        authenticator = world.portal.authenticator
        assert (await authenticator.subject(session.claims, session)).grants
        authenticator._clock = lambda: time.time() + 15 * 60  # what was read a moment ago is remembered
        assert (await authenticator.subject(session.claims, session)).grants == ()
        authenticator.forget_subjects()
        assert (await frame.get("/dicomweb/studies", headers=JSON)).status_code == 401
    assert world.sessions.sessions == {}


async def test_launch_by_studies_opens_them_at_the_holders_of_now(world: Any) -> None:
    async with world.browser() as ehr, world.browser() as frame:
        code = await code_for(ehr, resident=None, studies=["1.2.3"], minutes=60)
        world.add_study("1.2.3", "secondary")
        await enter(frame, code)
        rows = (await frame.get("/dicomweb/studies", headers=JSON)).json()
        assert len(rows) == 1
        missing = await ehr.post("/launches", json={**ASKED, "resident": None, "studies": ["9.9"]}, headers=BEARER)
        assert missing.status_code == 404
    (grant,) = world.access_grants.grants.values()
    assert grant.studies == [StudyRef("1.2.3", "community")]
    assert timedelta(minutes=59) < grant.until - datetime.now(UTC) <= timedelta(minutes=60)


async def test_launch_joins_the_portal_session_of_the_same_user_and_ends_anothers(world: Any) -> None:
    browser = await world.signed_in("expert.secondary")
    async with aclosing(browser), world.browser() as ehr:
        page = await enter(browser, await code_for(ehr, user="expert.secondary"))
        assert "set-cookie" not in page.headers
        rows = (await browser.get("/dicomweb/studies", headers=JSON)).json()
        assert {row["0020000D"]["Value"][0] for row in rows} == {"1.2.3", "1.2.4"}
        page = await enter(browser, await code_for(ehr))
        assert any(c.startswith("__Host-portal=") and "Max-Age=0" in c for c in page.headers.get_list("set-cookie"))
        assert (await browser.get("/portal/studies")).status_code == 403
    assert [session.kind for session in world.sessions.sessions.values()] == ["launch"]
    assert [r.reason for r in world.audited if r.action == "sign-out"] == ["launch-of-another-user"]


async def test_only_a_registered_ehr_asks_for_windows(world: Any) -> None:
    async with world.browser() as program:
        for token in ("doctor.community", "edge-secondary"):
            answer = await program.post("/launches", json=ASKED, headers={"Authorization": f"Bearer bearer-{token}"})
            assert answer.status_code == 403
        assert (await program.post("/launches", json=ASKED)).status_code == 401
        for wrong in ({"resident": "../x"}, {"minutes": 61}, {"studies": ["1.2.3"]}, {"purpose": ""}, {"more": 1}):
            assert (await program.post("/launches", json=ASKED | wrong, headers=BEARER)).status_code == 422
        world.portal.windows._ehrs.clear()
        assert (await program.post("/launches", json=ASKED, headers=BEARER)).status_code == 403
    assert world.access_grants.codes == {}


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("portal.localhost", True),
        ("127.0.0.1", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_names_of_this_machine_need_no_tls(host: str, here: bool) -> None:
    assert is_this_machine(host) is here


async def test_plain_http_says_why_it_cannot_open_a_window(world: Any, tmp_path: Path) -> None:
    plain = type(world)(tmp_path, public_url="http://portal.test", ehrs=world.ehrs)
    async with plain.browser() as frame:
        page = await enter(frame, "any")
    assert page.status_code == 421
    assert 'data-key="launch.insecure"' in page.text
