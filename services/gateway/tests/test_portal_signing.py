"""The report editor and signing over fakes: autosave, conflicts, and a fresh proof of who signs."""

from typing import Any

import httpx

EXPERT = "expert.secondary"
TEXT = {"findings": "右上肺结节", "impression": "复查"}


async def drafted(world: Any) -> tuple[httpx.AsyncClient, dict[str, str]]:
    """An expert with a written report, and the form that issues it."""
    world.consults.add("c1", state="drafted", expert=EXPERT, version=4)
    browser = await world.signed_in(EXPERT)
    return browser, {"csrf": world.csrf(EXPERT), "version": "4"}


async def at_provider(browser: httpx.AsyncClient, form: dict[str, str]) -> str:
    """Begin to sign; the state that the provider gives back."""
    page = await browser.post("/portal/consults/c1/issue", data=form)
    assert page.status_code == 200
    address = page.text.split('href="https://id.example')[1].split('"')[0].replace("&amp;", "&")
    assert "prompt=login" in address
    assert "max_age=0" in address
    return str(httpx.URL(f"https://id.example{address}").params["state"])


async def test_draft_is_kept_by_revision_and_a_second_window_is_told(world: Any) -> None:
    browser, _ = await drafted(world)
    headers = {"X-CSRF-Token": world.csrf(EXPERT)}
    address = "/portal/consults/c1/report/draft"
    kept = await browser.put(address, json={"revision": 0, "text": TEXT}, headers=headers)
    assert kept.json()["revision"] == 1
    assert kept.json()["version"] == 4
    late = await browser.put(address, json={"revision": 0, "text": {"findings": "x"}}, headers=headers)
    assert late.status_code == 409
    assert world.consults.drafts["c1"]["text"] == TEXT
    assert (await browser.put(address, json={"revision": 1, "text": TEXT})).status_code == 403
    page = (await browser.get("/portal/consults/c1/report")).text
    assert "右上肺结节" in page
    assert 'data-revision="1"' in page


async def test_editor_sends_who_may_not_write_to_the_case(world: Any) -> None:
    world.consults.add("c1", allowed=[])
    answer = await (await world.signed_in()).get("/portal/consults/c1/report")
    assert answer.headers["location"] == "/portal/consults/c1"


async def test_second_reader_sees_the_draft_and_gives_it_back_with_a_reason(world: Any) -> None:
    world.consults.add("c1", state="in-review")
    world.consults.drafts["c1"] = {"revision": 2, "saved_at": None, "author_name": "周敏", "text": TEXT}
    browser = await world.signed_in(EXPERT)
    page = (await browser.get("/portal/consults/c1/report")).text
    assert 'data-testid="review-findings">右上肺结节' in page
    form = {"csrf": world.csrf(EXPERT), "version": "1", "reason": "请补充大小"}
    assert (await browser.post("/portal/consults/c1/decline-review", data=form)).status_code == 303
    assert world.consults.acts[-1][1:] == ("decline-review", {"version": 1, "reason": "请补充大小"})


async def test_report_is_issued_once_its_author_has_signed_in_again(world: Any) -> None:
    browser, form = await drafted(world)
    state = await at_provider(browser, form)
    assert world.consults.acts == []
    world.consults.fresh.add("access-expert.secondary-2")
    done = await browser.get("/auth/callback", params={"state": state, "code": EXPERT})
    assert done.headers["location"] == "/portal/consults/c1?told=signed"
    assert world.consults.acts == [("access-expert.secondary-2", "issue", {"version": 4})]
    assert "signed and issued" in (await browser.get(done.headers["location"])).text
    again = await browser.get("/auth/callback", params={"state": state, "code": EXPERT})
    assert again.status_code == 400
    assert len(world.consults.acts) == 1


async def test_fresh_proof_signs_at_once(world: Any) -> None:
    browser, form = await drafted(world)
    world.consults.fresh.add("access-expert.secondary-1")
    done = await browser.post("/portal/consults/c1/issue", data=form)
    assert done.headers["location"] == "/portal/consults/c1?told=signed"


async def test_nothing_is_signed_when_another_person_signs_in(world: Any) -> None:
    browser, form = await drafted(world)
    state = await at_provider(browser, form)
    world.consults.fresh.add("access-doctor.community-2")
    done = await browser.get("/auth/callback", params={"state": state, "code": "doctor.community"})
    assert done.headers["location"] == "/portal/consults/c1?told=another"
    assert world.consults.acts == []
    assert world.audited[-1].reason == "another-person-at-signing"
    assert "somebody else signed in" in (await browser.get(done.headers["location"])).text.lower()


async def test_nothing_is_signed_in_another_browser_or_when_cancelled(world: Any) -> None:
    browser, form = await drafted(world)
    state = await at_provider(browser, form)
    other = await world.signed_in(EXPERT)
    stolen = await other.get("/auth/callback", params={"state": state, "code": EXPERT})
    assert stolen.status_code == 400
    turned = await browser.get("/auth/callback", params={"state": state, "error": "access_denied"})
    assert turned.headers["location"] == "/portal/consults/c1?told=cancelled"
    assert world.consults.acts == []


async def test_conflict_while_signing_is_told_and_nothing_is_signed(world: Any) -> None:
    browser, form = await drafted(world)
    state = await at_provider(browser, form)
    world.consults.cases["c1"]["version"] = 5
    world.consults.fresh.add("access-expert.secondary-2")
    done = await browser.get("/auth/callback", params={"state": state, "code": EXPERT})
    assert done.headers["location"] == "/portal/consults/c1?told=conflict"
    assert world.consults.acts == []
