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


async def test_consult_service_away_is_told_and_studies_still_work(world: Any) -> None:
    world.add_study("1.2.3")
    world.consults.away = world.desk.away = True
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
    page = await browser.get("/portal/notices")
    assert "C-1" in page.text
    assert 'data-notice="0"' in page.text
    form = {"csrf": world.csrf(), "notice": "0"}
    part = await browser.post("/portal/notices/seen", data=form, headers={"HX-Request": "true"})
    assert (part.headers["hx-trigger"], "data-notice" in part.text) == ("portal:seen", False)
    assert 'data-count="0"' in (await browser.get("/portal/notices/count")).text
    assert (await browser.post("/portal/notices/seen", data={"csrf": world.csrf()})).status_code == 303
    assert world.notices.seen == {("0", "doctor.community")}


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
