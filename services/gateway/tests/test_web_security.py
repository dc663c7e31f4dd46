"""What browsers and hostile input are held to: sign-in limits, session fixation, cookie flags, markup in DICOM."""

from typing import Any

import httpx

from gateway.api.auth import MAX_BEGUN, MAX_FAILED

NAME = "<script>alert(1)</script>^<img src=x onerror=alert(2)>=<b>王</b>^伟="


async def test_address_that_begins_too_many_sign_ins_waits_and_others_do_not(world: Any) -> None:
    async with world.browser() as browser:
        answers = [(await browser.get("/auth/login")).status_code for _ in range(MAX_BEGUN)]
        refused = await browser.get("/auth/login")
    assert set(answers) == {303}
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    elsewhere = httpx.ASGITransport(world.app, client=("10.9.9.9", 1))
    async with httpx.AsyncClient(transport=elsewhere, base_url="http://portal.test") as other:
        assert (await other.get("/auth/login")).status_code == 303


async def test_address_whose_sign_ins_fail_too_often_waits_and_each_failure_is_audited(world: Any) -> None:
    async with world.browser() as browser:
        for _ in range(MAX_FAILED):
            assert (await browser.get("/auth/callback", params={"state": "made-up", "code": "1"})).status_code == 400
        refused = await browser.get("/auth/callback", params={"state": "made-up", "code": "1"})
    assert refused.status_code == 429
    assert [record.outcome for record in world.audited] == ["denied"] * MAX_FAILED


async def test_sign_in_makes_a_session_of_its_own_whatever_cookie_the_browser_brought(world: Any) -> None:
    browser = await world.signed_in()
    name = world.portal.cookie
    before = browser.cookies[name]
    async with world.browser() as planted:
        planted.cookies.set(name, "planted-by-somebody-else-0123456789abcdefghij")
        state = httpx.URL((await planted.get("/auth/login")).headers["location"]).params["state"]
        answer = await planted.get("/auth/callback", params={"state": state, "code": "doctor.community"})
    (given,) = [line for line in answer.headers.get_list("set-cookie") if line.startswith(name)]
    assert "planted" not in given
    assert before not in given
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in given.split(";")}
    assert "planted-by-somebody-else-0123456789abcdefghij" not in str(world.sessions.sessions)


async def test_markup_in_dicom_text_is_shown_as_text(world: Any) -> None:
    world.add_study(name=NAME, description="<svg/onload=alert(3)>", accession='"><i>')
    browser = await world.signed_in()
    page = (await browser.get("/portal/studies")).text
    assert "alert(1)" in page
    for markup in ("<script>alert", "<img src=x", "<b>王", "<svg/onload", '"><i>'):
        assert markup not in page


async def test_page_runs_only_its_own_scripts(world: Any) -> None:
    browser = await world.signed_in()
    answer = await browser.get("/portal/studies")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "object-src 'none'" in policy
    assert " on" + "click=" not in answer.text
    assert "<script>" not in answer.text
