"""The portal's pages over fakes: list, search, application, case, languages, errors."""

import json
import re
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from gateway.web.i18n import choose_language
from imaging_common.events import NoticeRaised, StudyOpened

EXPERT = "expert.secondary"


async def test_catalogues_have_the_same_keys_and_placeholders() -> None:
    folder = resources.files("gateway.web").joinpath("locales")
    zh, en = (json.loads(folder.joinpath(f"{name}.json").read_text("utf-8")) for name in ("zh", "en"))
    assert zh.keys() == en.keys()
    for key in zh:
        assert sorted(re.findall(r"{\w+}", zh[key])) == sorted(re.findall(r"{\w+}", en[key])), key


async def test_templates_use_only_known_keys() -> None:
    folder = resources.files("gateway.web")
    known = json.loads(folder.joinpath("locales", "zh.json").read_text("utf-8")).keys()
    for template in folder.joinpath("templates").iterdir():
        for key in re.findall(r"""\bt\(["']([\w.-]+)["'][,)]""", template.read_text("utf-8")):
            assert key in known, f"{template.name}: {key}"


def test_language_follows_cookie_then_browser_then_chinese() -> None:
    assert choose_language("en", "zh-CN") == "en"
    assert choose_language(None, "fr;q=0.9, en-GB;q=0.8, zh;q=0.7") == "en"
    assert choose_language("xx", "") == "zh"


async def test_study_list_shows_own_studies_only(world: Any) -> None:
    world.add_study("1.2.3")
    world.add_study("9.9.9", holder="secondary", name="Li^Na=李^娜=")
    page = await (await world.signed_in()).get("/portal/studies")
    assert "张伟" in page.text
    assert "Zhang Wei" in page.text
    assert "李娜" not in page.text
    assert 'href="/viewer?StudyInstanceUIDs=1.2.3&amp;lng=en"' in page.text
    assert world.audited[-1].action == "search"
    assert page.headers["cache-control"] == "no-store"


async def test_search_finds_by_han_pinyin_id_accession_and_keeps_it_out_of_the_address(world: Any) -> None:
    world.add_study("1.2.3")
    world.add_study("1.2.4", name="Li^Na=李^娜=", accession="B-1")
    browser = await world.signed_in(**{"HX-Request": "true"})
    for words, found in (
        ("张", "1.2.3"),
        ("zhang wei", "1.2.3"),
        ("lina", "1.2.4"),
        ("B-1", "1.2.4"),
        ("wei", "1.2.3"),
    ):
        page = await browser.post("/portal/studies/search", data={"words": words, "csrf": world.csrf()})
        assert re.findall(r'data-study="([\d.]+)"', page.text) == [found], words
        assert "words" not in str(page.url)
    again = await browser.get("/portal/studies")
    assert 'value="wei"' in again.text


async def test_search_by_modality_and_date_when_nothing_matches_says_so(world: Any) -> None:
    world.add_study("1.2.3")
    browser = await world.signed_in(**{"HX-Request": "true"})
    form = {"csrf": world.csrf(), "modality": "MR"}
    assert 'data-testid="empty"' in (await browser.post("/portal/studies/search", data=form)).text
    form = {"csrf": world.csrf(), "date_from": "2026-11-20", "date_to": "2026-11-20"}
    assert 'data-study="1.2.3"' in (await browser.post("/portal/studies/search", data=form)).text
    form = {"csrf": world.csrf(), "date_from": "2026-11-21"}
    assert 'data-testid="empty"' in (await browser.post("/portal/studies/search", data=form)).text


async def test_application_is_made_only_for_visible_studies(world: Any) -> None:
    world.add_study("1.2.3")
    world.add_study("9.9.9", holder="secondary")
    browser = await world.signed_in()
    form = {"csrf": world.csrf(), "consultant_hospital": "secondary", "purpose": "?", "urgency": "urgent"}
    foreign = await browser.post("/portal/apply", data={**form, "ref": "secondary/9.9.9"})
    assert foreign.status_code == 404
    assert world.consults.submitted == []
    done = await browser.post("/portal/apply", data={**form, "ref": "community/1.2.3", "workstation": "yes"})
    assert world.consults.submitted[0]["workstation"] is True
    assert (done.status_code, done.headers["location"]) == (303, "/portal/consults/c1")
    assert world.consults.submitted[0]["studies"] == [{"study_uid": "1.2.3", "holder": "community"}]


async def test_application_is_shown_again_when_the_hospital_is_missing(world: Any) -> None:
    world.add_study("1.2.3")
    browser = await world.signed_in()
    form = {"csrf": world.csrf(), "purpose": "性质?", "ref": "community/1.2.3"}
    page = await browser.post("/portal/apply", data=form)
    assert page.status_code == 422
    assert 'data-testid="problem"' in page.text
    assert "性质?" in page.text


async def test_case_goes_from_acceptance_to_report_and_acknowledgement(world: Any) -> None:
    world.add_study("1.2.3")
    world.consults.add("c1", studies=[{"study_uid": "1.2.3", "holder": "community"}])
    expert = await world.signed_in(EXPERT, **{"HX-Request": "true"})
    csrf = world.csrf(EXPERT)
    page = await expert.post("/portal/consults/c1/accept", data={"csrf": csrf, "version": "1"})
    assert 'data-state="accepted"' in page.text
    assert 'name="findings"' in page.text
    form = {"csrf": csrf, "version": "2", "findings": "结节", "impression": "复查", "intent": "issue"}
    page = await expert.post("/portal/consults/c1/report", data=form)
    assert 'data-state="issued"' in page.text
    doctor = await world.signed_in()
    seen = await doctor.get("/portal/consults/c1")
    assert 'data-testid="report-impression">复查<' in seen.text
    assert 'data-testid="viewer"' in seen.text
    done = await doctor.post("/portal/consults/c1/acknowledge", data={"csrf": world.csrf(), "version": "4"})
    assert done.status_code == 303
    assert world.consults.cases["c1"]["state"] == "acknowledged"


async def test_conflict_is_told_in_words_and_keeps_what_was_typed(world: Any) -> None:
    world.consults.add("c1", studies=[], state="accepted", expert=EXPERT, version=7)
    expert = await world.signed_in(EXPERT, **{"HX-Request": "true"})
    form = {"csrf": world.csrf(EXPERT), "version": "6", "findings": "写了很久", "impression": "x", "intent": "draft"}
    page = await expert.post("/portal/consults/c1/report", data=form)
    assert page.status_code == 409
    assert "王强" in page.text
    assert "写了很久" in page.text
    assert 'name="version" value="7"' in page.text


async def test_report_is_not_issued_when_findings_are_missing(world: Any) -> None:
    world.consults.add("c1", studies=[], state="accepted", expert=EXPERT)
    expert = await world.signed_in(EXPERT, **{"HX-Request": "true"})
    form = {"csrf": world.csrf(EXPERT), "version": "1", "findings": "", "impression": "仅意见", "intent": "issue"}
    page = await expert.post("/portal/consults/c1/report", data=form)
    assert page.status_code == 422
    assert "仅意见" in page.text
    assert world.consults.cases["c1"]["state"] == "accepted"


async def test_consult_service_away_is_told_and_studies_still_work(world: Any) -> None:
    world.add_study("1.2.3")
    world.consults.away = True
    browser = await world.signed_in()
    page = await browser.get("/portal/consults")
    assert page.status_code == 503
    assert 'data-error="error.consult-away"' in page.text
    assert (await browser.get("/portal/studies")).status_code == 200
    part = await browser.get("/portal/consults/c1/case", headers={"HX-Request": "true"})
    assert part.headers["hx-retarget"] == "#flash"


async def test_unknown_case_is_not_found_as_a_page(world: Any) -> None:
    page = await (await world.signed_in()).get("/portal/consults/nothing")
    assert page.status_code == 404
    assert "Not found" in page.text


async def test_bell_counts_and_forgets_what_was_seen(world: Any) -> None:
    for number, recipient in enumerate(("user:doctor.community", "hospital:secondary:expert")):
        notice = NoticeRaised(
            notice_id=str(number), recipient=recipient, kind="report-issued", number="C-1",
            link="/portal/consults/c1", raised_at=datetime.now(UTC),
        )  # fmt: skip
        await world.notices.add(notice)
    browser = await world.signed_in()
    assert 'data-count="1"' in (await browser.get("/portal/notices/count")).text
    assert "C-1" in (await browser.get("/portal/notices")).text
    assert 'data-count="0"' in (await browser.get("/portal/notices/count")).text


async def test_language_can_be_switched(world: Any) -> None:
    browser = await world.signed_in()
    assert "Sign out" in (await browser.get("/portal/notices")).text
    switched = await browser.get("/portal/language/zh", params={"next": "/portal/notices"})
    assert switched.headers["location"] == "/portal/notices"
    assert 'lang="zh-CN"' in (await browser.get("/portal/notices")).text


async def test_viewer_is_served_with_our_configuration_and_tells_what_is_opened(world: Any) -> None:
    world.add_study("1.2.3")
    world.add_study("9.9.9", holder="secondary")
    browser = await world.signed_in()
    config = (await browser.get("/app-config.js")).text
    assert '"qidoRoot": "/dicomweb"' in config
    assert "public server" not in config
    page = await browser.get("/viewer", params={"StudyInstanceUIDs": "1.2.3,9.9.9"})
    assert "OHIF Viewer" in page.text
    opened = [event for _, event, _ in world.publisher.published if isinstance(event, StudyOpened)]
    assert [(event.holder, event.study_uid) for event in opened] == [("community", "1.2.3")]


async def test_viewer_files_are_compressed_and_kept(world: Any) -> None:
    browser = await world.signed_in()
    bundle = await browser.get("/app.bundle.0f6159c501addfe9.js", headers={"Accept-Encoding": "br"})
    assert bundle.headers["content-encoding"] == "br"
    assert "immutable" in bundle.headers["cache-control"]
    assert bundle.text.startswith("console.log")
    known = {"If-None-Match": bundle.headers["etag"], "Accept-Encoding": "br"}
    again = await browser.get("/app.bundle.0f6159c501addfe9.js", headers=known)
    assert again.status_code == 304
    assert (await browser.get("/no-such.js")).status_code == 404
    assert (await browser.get("/portal/no-such")).status_code == 404


async def test_only_the_decode_worker_may_eval(world: Any) -> None:
    browser = await world.signed_in()
    worker = await browser.get("/8097.bundle.8ae6404ba94890a0.js")
    assert "'unsafe-eval'" in worker.headers["content-security-policy"]
    kept = await browser.get("/8097.bundle.8ae6404ba94890a0.js", headers={"If-None-Match": worker.headers["etag"]})
    assert "'unsafe-eval'" in kept.headers["content-security-policy"]
    for path in ("/viewer", "/app.bundle.0f6159c501addfe9.js", "/portal/studies", "/dicomweb/studies"):
        assert "'unsafe-eval'" not in (await browser.get(path)).headers["content-security-policy"]
