"""The application form over fakes: drafts, required fields, studies, codes, files, submission."""

import re
from typing import Any

DRAFT = f"{1:032x}"


def form(world: Any, **more: Any) -> dict[str, Any]:
    """What a browser sends."""
    return {
        "csrf": world.csrf(), "urgency": "routine", "target_kind": "hospital", "consultant_hospital": "secondary",
        "ref": "community/1.2.3", "purpose": "结节性质？", **more,
    }  # fmt: skip


async def test_form_offers_the_persons_studies_and_preselects_the_named(world: Any) -> None:
    world.add_study("1.2.3", patient_key="community^P-001")
    world.add_study("1.2.4", patient_key="community^P-001", study_date="20250101")
    world.add_study("1.2.5", patient_key="community^P-002")
    browser = await world.signed_in()
    page = (await browser.get("/portal/apply", params={"ref": "community/1.2.3"})).text
    assert re.findall(r'name="ref" value="([\w/.]+)"', page) == ["community/1.2.3", "community/1.2.4"]
    assert re.findall(r'value="([\w/.]+)"[^>]* checked', page)[:1] == ["routine"]
    assert 'value="community/1.2.3" aria-label="2026-11-20 CT 胸部平扫" checked' in page
    assert (await browser.get("/portal/apply", params={"ref": "secondary/9.9"})).status_code == 404
    assert 'data-testid="empty"' in (await browser.get("/portal/apply")).text


async def test_draft_is_kept_as_one_types_and_comes_back(world: Any) -> None:
    world.add_study("1.2.3")
    browser = await world.signed_in()
    key = "community/1.2.3/1.2.3.4/1.2.3.4.5/7"
    first = await browser.post("/portal/apply/save", data=form(world, purpose="结", once="o-1"))
    assert first.json() | {"saved_at": ""} == {"id": DRAFT, "revision": 1, "missing": [], "saved_at": ""}
    more = form(
        world, draft=DRAFT, revision="1", diagnosis=["R91.1|孤立性肺结节", "咳嗽"], question="恶性？", key_image=key,
        desired_at="2026-11-25T08:00",
    )  # fmt: skip
    assert (await browser.post("/portal/apply/save", data=more)).json()["revision"] == 2
    kept = world.desk.cases[DRAFT]
    assert kept["diagnoses"] == [{"code": "R91.1", "text": "孤立性肺结节"}, {"code": "", "text": "咳嗽"}]
    assert kept["patient"]["name"] == "张伟"
    assert kept["desired_at"] == "2026-11-25T00:00:00+00:00"
    page = (await browser.get("/portal/apply", params={"draft": DRAFT})).text
    for text in ("结节性质？", "R91.1|孤立性肺结节", "恶性？", key, 'value="2026-11-25T08:00"'):
        assert text in page
    stale = await browser.post("/portal/apply/save", data=more)
    assert (stale.status_code, stale.json()) == (409, {"conflict": True})
    assert world.desk.cases[DRAFT]["application_revision"] == 2


async def test_foreign_study_is_neither_kept_nor_submitted(world: Any) -> None:
    world.add_study("1.2.3")
    world.add_study("9.9.9", holder="secondary")
    browser = await world.signed_in()
    foreign = form(world, ref=["community/1.2.3", "secondary/9.9.9"])
    assert (await browser.post("/portal/apply/save", data=foreign)).status_code == 404
    assert (await browser.post("/portal/apply", data=foreign)).status_code == 404
    assert world.desk.cases == {}


async def test_submission_says_what_is_missing_and_keeps_the_draft(world: Any) -> None:
    world.add_study("1.2.3")
    browser = await world.signed_in()
    page = await browser.post("/portal/apply", data=form(world, purpose="", chief_complaint="咳嗽"))
    assert page.status_code == 422
    assert 'href="#field-purpose"' in page.text
    assert "咳嗽" in page.text
    assert f'name="draft" value="{DRAFT}"' in page.text
    done = await browser.post("/portal/apply", data=form(world, draft=DRAFT, revision="1"))
    assert (done.status_code, done.headers["location"]) == (303, f"/portal/consults/{DRAFT}")
    assert world.desk.cases[DRAFT]["state"] == "submitted"
    again = await browser.get("/portal/apply", params={"draft": DRAFT})
    assert again.headers["location"] == f"/portal/consults/{DRAFT}"


async def test_returned_case_shows_why_and_is_submitted_again(world: Any) -> None:
    world.add_study("1.2.3")
    browser = await world.signed_in()
    await browser.post("/portal/apply", data=form(world))
    at = "2026-11-24T02:30:00+00:00"
    step = {"at": at, "name": "周敏", "action": "return", "state": "returned", "reason": "请补充增强扫描"}
    world.desk.cases[DRAFT].update(state="returned", timeline=[step])
    page = (await browser.get("/portal/apply", params={"draft": DRAFT})).text
    assert "请补充增强扫描" in page
    assert "Submit again" in page


async def test_codes_experts_and_routing_are_looked_up(world: Any) -> None:
    world.add_study("1.2.3")
    world.desk.parts = {
        "icd10": [{"code": "I63", "zh": "脑梗死", "en": "Cerebral infarction"}],
        "experts/search": [
            {"user": "e1", "name": "周敏", "hospital": "secondary", "department": "影像科", "subspecialties": ["chest"]}
        ],
    }
    browser = await world.signed_in()
    assert (await browser.get("/portal/apply/icd10", params={"q": "ngs"})).json()[0]["code"] == "I63"
    found = await browser.get("/portal/apply/experts", params={"q": "周"})
    assert 'data-expert="e1"' in found.text
    tried = await browser.post("/portal/apply/route", data=form(world, target_kind="auto"))
    assert tried.status_code == 200
    assert 'data-testid="route"' in tried.text


async def test_files_go_to_the_draft(world: Any) -> None:
    world.add_study("1.2.3")
    browser = await world.signed_in()
    await browser.post("/portal/apply/save", data=form(world))
    headers = {"X-CSRF-Token": world.csrf(), "Content-Type": "application/pdf", "X-File-Name": "%E5%90%8C%E6%84%8F.pdf"}
    address = f"/portal/apply/{DRAFT}/files"
    added = await browser.post(address, params={"kind": "consent"}, content=b"%PDF-1.7", headers=headers)
    assert "同意.pdf" in added.text
    assert (await browser.post(address, content=b"x")).status_code == 403
    gone = await browser.post(f"{address}/f1/remove", headers={"X-CSRF-Token": world.csrf()})
    assert "同意.pdf" not in gone.text
