"""The viewer page in a real browser: trust, watermark, priors in one click, saved measurements, windows, keyboard."""

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from imaging_native import ct
from imaging_native.asking import until
from imaging_native.region import Region
from imaging_native.story.browser import DEADLINE_MS, Browser, Person
from imaging_native.story.consult import ConsultScene
from imaging_native.story.images import ImageScene

DOCTOR, EXPERT = "doctor.community", "expert.secondary"
SIZES = ((1440, 900), (3840, 2160))


@pytest.fixture
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A Chromium; pictures go to a folder of the test run."""
    expect.set_options(timeout=DEADLINE_MS)
    pictures = os.environ.get("PICTURES")
    async with Browser(Path(pictures) if pictures else tmp_path_factory.mktemp("viewer")) as browser:
        yield browser


async def send(region: Region, folder: Path, person: ct.Person) -> ct.Series:
    """A CT series of this person, sent to the community hospital's edge agent."""
    made = await asyncio.to_thread(ct.write_series, folder, slices=4, seed=secrets.randbelow(10**9), person=person)
    scene = ImageScene(region.state, folder, 4)
    try:
        await scene.dcmsend(made.files)
    finally:
        await scene.aclose()
    return made


async def reader(browser: Browser, region: Region, user: str) -> Person:
    """Somebody who went through Keycloak."""
    person = await Person.at(browser, region.state, user)
    await person.sign_in()
    return person


async def opened(person: Person, study_uid: str) -> Page:
    """The study in the viewer, drawn, with its bar."""
    await person.page.goto(f"{person.portal}/portal/studies")
    await expect(person.page.locator(f'[data-testid="view-study"][href*="{study_uid}"]')).to_be_visible()
    page = await person.context.new_page()
    await page.goto(f"{person.portal}/viewer?StudyInstanceUIDs={study_uid}&lng=zh-CN")
    await Person.wait_until_drawn(page)
    return page


async def pictures(browser: Browser, page: Page, name: str) -> None:
    """The page at both sizes."""
    for width, height in SIZES:
        await page.set_viewport_size({"width": width, "height": height})
        await browser.picture(page, f"{name}-{width}x{height}")
    await page.set_viewport_size({"width": 1600, "height": 1000})


async def series_of(person: Person, study_uid: str, modality: str) -> list[dict[str, Any]]:
    """QIDO-RS as this person."""
    address = f"{person.portal}/dicomweb/studies/{study_uid}/series?Modality={modality}"
    answer = await person.context.request.get(address, headers={"Accept": "application/dicom+json"})
    return list(await answer.json()) if answer.status == 200 else []


async def test_reader_sees_trust_and_watermark_and_compares_with_a_prior_in_one_click(
    region: Region, browser: Browser, tmp_path: Path
) -> None:
    person = ct.Person(f"V-{secrets.token_hex(4)}", "Qian^Lan=钱^岚", "19550102", "F")
    current = await send(region, tmp_path / "current", person)
    prior = await send(region, tmp_path / "prior", person)
    doctor = await reader(browser, region, DOCTOR)
    await doctor.page.goto(f"{region.portal}/portal/studies")
    for study in (current, prior):
        await expect(doctor.page.locator(f'[data-study="{study.study_uid}"] .badge.archived')).to_be_visible()
    blocked: list[str] = []
    doctor.context.on("console", lambda m: blocked.append(m.text) if "Content Security Policy" in m.text else None)
    viewer = await opened(doctor, current.study_uid)

    bar = viewer.locator("#region-bar")
    await expect(bar.locator('[data-chip="pixels"]')).to_have_attribute("data-value", "lossless")
    await expect(bar.locator('[data-chip="complete"]')).to_have_attribute("data-value", "yes")
    await expect(bar.locator('[data-chip="complete"]')).to_contain_text("4/4")
    mark = viewer.locator("#region-watermark")
    await expect(mark).to_have_attribute("data-text", re.compile(rf"{re.escape(DOCTOR)} \d{{4}}-\d\d-\d\d \d\d:\d\d$"))
    await expect(mark).to_have_css("pointer-events", "none")
    await pictures(browser, viewer, "viewer")

    await viewer.keyboard.press("Shift+D")
    panel = viewer.locator("#region-panel")
    await expect(panel).to_contain_text("SHA-256")
    await pictures(browser, viewer, "viewer-details")
    await viewer.keyboard.press("Escape")
    await expect(panel).to_be_hidden()
    await viewer.keyboard.press("?")
    await expect(viewer.locator("#region-help")).to_be_visible()
    await viewer.keyboard.press("Escape")

    await viewer.click('#region-bar [data-opens="priors"][data-count="1"]')
    await expect(panel.locator("a.prior")).to_be_focused()
    await pictures(browser, viewer, "viewer-priors")
    await panel.locator(f'[data-prior="{prior.study_uid}"]').click()
    await viewer.wait_for_url(f"**StudyInstanceUIDs={current.study_uid}*{prior.study_uid}**")
    await Person.wait_until_drawn(viewer)
    await expect(bar.locator(".study")).to_have_count(2)
    await expect(viewer.locator('[data-cy="viewport-grid"] canvas')).to_have_count(2)
    await pictures(browser, viewer, "viewer-compare")
    assert blocked == []


async def test_saved_measurement_is_seen_by_the_next_reader(region: Region, browser: Browser, tmp_path: Path) -> None:
    person = ct.Person(f"V-{secrets.token_hex(4)}", "Sun^Wei=孙^蔚", "19610203", "M")
    study = await send(region, tmp_path, person)
    doctor, expert = await reader(browser, region, DOCTOR), await reader(browser, region, EXPERT)
    viewer = await opened(doctor, study.study_uid)

    await viewer.click('[data-cy="MeasurementTools-split-button-primary"]')
    box = await viewer.locator('[data-cy="viewport-grid"] canvas').first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4
    await viewer.mouse.click(x, y)
    await viewer.mouse.move(x + 60, y + 40, steps=5)
    await viewer.mouse.click(x + 120, y + 60)
    await viewer.click('[data-cy="prompt-begin-tracking-yes-btn"]')
    await viewer.click('[data-cy="trackedMeasurements-btn"]')
    await viewer.locator("button", has_text=re.compile("Create SR|创建 ?SR")).click()
    async with viewer.expect_response(lambda r: r.request.method == "POST" and "/dicomweb/studies" in r.url) as saved:
        await viewer.locator('[role="dialog"] button', has_text=re.compile("^(Save|保存)$")).click()
    assert (await saved.value).status == 200
    await browser.picture(viewer, "viewer-measurement-saved")

    await ConsultScene(doctor, expert, study.study_uid).apply()
    await until(lambda: series_of(expert, study.study_uid, "SR"), "the saved measurements at the expert")
    other = await opened_by_address(expert, study.study_uid)
    await expect(other.get_by_text("SR", exact=True).first).to_be_visible()
    await pictures(browser, other, "viewer-next-reader")


async def opened_by_address(person: Person, study_uid: str) -> Page:
    """The viewer, without the study list."""
    page = await person.context.new_page()
    await page.goto(f"{person.portal}/viewer?StudyInstanceUIDs={study_uid}&lng=zh-CN")
    await Person.wait_until_drawn(page)
    return page


async def test_list_and_windows_work_from_the_keyboard(region: Region, browser: Browser, tmp_path: Path) -> None:
    person = ct.Person(f"V-{secrets.token_hex(4)}", "Wu^Hao=吴^昊", "19700809", "M")
    study = await send(region, tmp_path, person)
    doctor = await reader(browser, region, DOCTOR)
    page = doctor.page
    await page.goto(f"{region.portal}/portal/studies")
    await expect(page.locator(f'[data-study="{study.study_uid}"]')).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type(person.patient_id)
    await page.keyboard.press("Enter")
    await expect(page.locator('[data-testid="study-row"]')).to_have_count(1)
    await page.keyboard.press("Tab")
    await page.locator("h1").click()
    await page.keyboard.press("?")
    await expect(page.locator("#keys")).to_be_visible()
    await pictures(browser, page, "keys-help")
    await page.keyboard.press("Escape")
    await expect(page.locator("#keys")).to_be_hidden()
    await page.keyboard.press("j")
    await expect(page.locator(f'[data-study="{study.study_uid}"]')).to_be_focused()
    async with page.expect_popup() as opening:
        await page.keyboard.press("Enter")
    viewer = await opening.value
    await Person.wait_until_drawn(viewer)
    await expect(viewer.locator('#region-bar [data-chip="pixels"]')).to_be_visible()
    async with viewer.expect_popup() as window:
        await viewer.keyboard.press("Shift+F")
    full = await window.value
    picture = full.locator("#picture")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("p => [p.naturalWidth, p.clientWidth * devicePixelRatio]") == [ct.SIZE, ct.SIZE]
    first = await picture.get_attribute("src")
    await full.keyboard.press("ArrowRight")
    await expect(picture).not_to_have_attribute("src", str(first))
    await expect(full.locator("#region-watermark")).to_have_attribute("data-text", re.compile(re.escape(DOCTOR)))
    await pictures(browser, full, "full-resolution")
