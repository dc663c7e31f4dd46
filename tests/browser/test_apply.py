"""The application form in a real browser against the whole region: drafts, required fields, codes, files, sending."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import FilePayload, expect

from imaging_native.region import Region
from imaging_native.story.browser import DEADLINE_MS, Browser

from .test_portal import DOCTOR, PICTURES, send, signed_in

PDF: FilePayload = {"name": "血常规.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4\n%%EOF\n"}


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium."""
    expect.set_options(timeout=DEADLINE_MS)
    async with Browser(PICTURES) as browser:
        yield browser
        await browser.picture_all("last")


async def test_application_is_kept_as_one_types_and_goes_to_the_right_one(
    region: Region, browser: Browser, tmp_path: Path
) -> None:
    doctor = await signed_in(browser, region, DOCTOR)
    page = doctor.page
    series = await send(region, tmp_path)
    await page.goto(f"{doctor.portal}/portal/studies")
    await page.click(f'[data-testid="apply-consult"][href*="{series.study_uid}"]')

    await page.wait_for_selector("#application[data-ready]")

    # What is needed depends on the urgency.
    needed = page.locator("[data-need='history']")
    await expect(needed).to_be_visible()
    await page.check('[name="urgency"][value="emergency"]')
    await expect(needed).to_be_hidden()
    await expect(page.locator("[data-need='applicant_phone']")).to_be_visible()

    # Codes by pinyin initials, chosen by keyboard.
    await page.fill("#diagnosis-input", "glxfjj")
    await page.locator("#diagnosis-list li", has_text="R91.1").wait_for()
    await page.press("#diagnosis-input", "ArrowDown")
    await page.press("#diagnosis-input", "Enter")
    await page.fill('[name="purpose"]', "结节性质？")
    await expect(page.locator('[data-testid="missing"] [data-missing="applicant_phone"]')).to_be_visible()

    # Key images, from the study's series.
    await page.click("[data-images]")
    await page.click("[data-series]")
    await page.locator("[data-key]").nth(2).click()
    await expect(page.locator('#keys [name="key_image"]')).to_have_count(1)

    # The network goes and comes back; what was typed meanwhile is kept.
    saved = page.locator('[data-testid="saved"]')
    await expect(saved).to_have_attribute("data-state", "saved")
    await page.context.set_offline(True)
    await page.fill('[name="applicant_phone"]', "021-5555 0100")
    await expect(saved).to_have_attribute("data-state", "lost")
    await page.context.set_offline(False)
    await expect(saved).to_have_attribute("data-state", "saved")

    await page.set_input_files("[data-file]", PDF)
    await expect(page.locator('[data-testid="attached"]')).to_contain_text("血常规.pdf")
    await page.reload()
    await expect(page.locator('[name="applicant_phone"]')).to_have_value("021-5555 0100")
    await expect(page.locator('[name="diagnosis"]')).to_have_count(1)
    await expect(page.locator('#keys [name="key_image"]')).to_have_count(1)
    await expect(page.locator('[data-testid="attached"]')).to_contain_text("血常规.pdf")

    await page.check('[name="target_kind"][value="auto"]', force=True)
    await expect(page.locator("[data-testid='route'].routed")).to_be_visible()
    await expect(page.locator('[data-testid="missing"] li')).to_have_count(0)
    await page.click('[data-testid="submit-consult"]')
    await page.wait_for_url("**/portal/consults/*")
    await expect(page.locator('[data-testid="consult-state"]')).to_have_attribute("data-state", "submitted")
    await expect(page.locator('[data-testid="key-image"]')).to_be_visible()
