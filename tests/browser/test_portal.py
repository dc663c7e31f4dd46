"""The portal in a real browser, against the whole region with two copies of the gateway."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Dialog, expect

from imaging_native import ct
from imaging_native.region import Region
from imaging_native.story.browser import DEADLINE_MS, Browser, Person
from imaging_native.story.consult import ConsultScene
from imaging_native.story.images import ImageScene

DOCTOR, EXPERT = "doctor.community", "expert.secondary"
PICTURES = Path(os.environ["PICTURES"]) if "PICTURES" in os.environ else None


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium; each person has a context of their own."""
    expect.set_options(timeout=DEADLINE_MS)
    async with Browser(PICTURES) as browser:
        yield browser
        await browser.picture_all("last")


async def send(region: Region, folder: Path) -> ct.Series:
    """Send a small CT series to the community hospital's edge agent: a study that no other case has opened."""
    series = await asyncio.to_thread(ct.write_series, folder, slices=4, seed=secrets.randbelow(10**9))
    scene = ImageScene(region.state, folder, 4)
    try:
        await scene.dcmsend(series.files)
    finally:
        await scene.aclose()
    return series


async def signed_in(browser: Browser, region: Region, user: str) -> Person:
    """Somebody who went through Keycloak."""
    person = await Person.at(browser, region.state, user)
    await person.sign_in()
    return person


async def test_study_appears_and_is_archived_without_reloading_at_the_second_gateway(
    region: Region, browser: Browser, tmp_path: Path
) -> None:
    doctor = await signed_in(browser, region, DOCTOR)
    await doctor.page.goto(f"{region.state['gateways'][1]}/portal/studies")
    await doctor.page.evaluate("window.notReloaded = true")
    series = await send(region, tmp_path)
    row = doctor.page.locator(f'[data-study="{series.study_uid}"]')
    await expect(row).to_be_visible(timeout=DEADLINE_MS)
    await expect(row.locator(".badge.archived")).to_be_visible(timeout=DEADLINE_MS)
    await expect(row.locator("img")).to_have_js_property("complete", True, timeout=DEADLINE_MS)
    assert await doctor.page.evaluate("window.notReloaded")


async def test_doctor_sees_the_image_in_ohif_and_nothing_outside_is_asked(
    region: Region, browser: Browser, tmp_path: Path
) -> None:
    series = await send(region, tmp_path)
    doctor = await signed_in(browser, region, DOCTOR)
    outside: list[str] = []
    blocked: list[str] = []
    doctor.context.on("request", lambda r: outside.append(r.url) if not r.url.startswith(here(region)) else None)
    doctor.context.on("console", lambda m: blocked.append(m.text) if "Content Security Policy" in m.text else None)
    await doctor.open_study(series.study_uid, picture="")
    assert outside == []
    assert blocked == []


def here(region: Region) -> tuple[str, ...]:
    """What a page of the portal may ask."""
    return (region.portal, "data:", "blob:")


async def test_second_expert_action_on_one_case_is_told_in_words(
    region: Region, browser: Browser, tmp_path: Path
) -> None:
    series = await send(region, tmp_path)
    doctor, expert = await signed_in(browser, region, DOCTOR), await signed_in(browser, region, EXPERT)
    scene = ConsultScene(doctor, expert, series.study_uid)
    await scene.apply()
    case = doctor.page.url
    late = await expert.context.new_page()
    await late.route("**/portal/events", lambda route: route.abort())
    await late.goto(case)
    await scene.accept()
    await late.click('[data-testid="accept-consult"]')
    await expect(late.locator('[data-testid="case-message"]')).to_be_visible()
    await expect(late.locator('[data-testid="consult-state"]')).to_have_attribute("data-state", "accepted")


async def test_typed_report_survives_when_the_applicant_withdraws(
    region: Region, browser: Browser, tmp_path: Path
) -> None:
    series = await send(region, tmp_path)
    doctor, expert = await signed_in(browser, region, DOCTOR), await signed_in(browser, region, EXPERT)
    scene = ConsultScene(doctor, expert, series.study_uid)
    await scene.apply()
    await scene.accept()
    await scene.read()
    await expert.page.click('[data-testid="open-editor"]')
    await expert.page.fill('[name="findings"]', "写到一半的所见")
    await expect(expert.page.locator('[data-testid="saved"]')).to_have_attribute("data-level", "good")
    await expect(doctor.page.locator('[data-testid="consult-state"]')).to_have_attribute("data-state", "drafted")
    await doctor.page.click('[data-testid="withdraw-details"] summary')
    await doctor.page.fill('[data-testid="withdraw-details"] [name="reason"]', "患者已转院")
    await doctor.page.click('[data-testid="withdraw-consult"]')
    await expect(doctor.page.locator('[data-testid="consult-state"]')).to_have_attribute("data-state", "withdrawn")
    await expect(expert.page.locator("#stale")).to_be_visible(timeout=DEADLINE_MS)
    await expect(expert.page.locator('[name="findings"]')).to_have_value("写到一半的所见")

    async def leave(dialog: Dialog) -> None:
        await dialog.accept()

    expert.page.on("dialog", leave)
    await expert.page.goto(doctor.page.url)
    await expect(expert.page.locator('[data-testid="no-images"]')).to_be_visible()


async def test_language_can_be_switched(region: Region, browser: Browser) -> None:
    doctor = await signed_in(browser, region, DOCTOR)
    await expect(doctor.page.locator("h1")).to_have_text("今日工作")
    await doctor.page.click('[data-testid="switch-language"]')
    await expect(doctor.page.locator("h1")).to_have_text("Your work today")


async def test_signing_out_ends_the_session_at_keycloak_too(region: Region, browser: Browser) -> None:
    doctor = await signed_in(browser, region, DOCTOR)
    await doctor.page.click('[data-testid="sign-out"]')
    await doctor.page.wait_for_url("**/portal/welcome")
    await doctor.page.click('[data-testid="sign-in"]')
    await expect(doctor.page.locator("#password")).to_be_visible()
