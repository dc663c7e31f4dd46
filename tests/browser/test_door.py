"""Ways in beside the sign-in, in a real browser: a share link that is taken back, and a glass that is broken."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from imaging_native.everybody import Everybody
from imaging_native.region import Region
from imaging_native.story.browser import DEADLINE_MS, Browser, Person

PICTURES = Path(os.environ["PICTURES"]) if "PICTURES" in os.environ else None
OWN, FOREIGN, AUDITOR = "doctor.community", "doctor.tcm", "auditor.region"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium; each person has a context of their own."""
    expect.set_options(timeout=DEADLINE_MS)
    async with Browser(PICTURES) as browser:
        yield browser


@pytest.fixture(scope="module")
async def known(region: Region, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, str]]:
    """The names of a study of the community hospital, and of the resident it is linked to."""
    async with Everybody(region, Path(tmp_path_factory.mktemp("door"))) as everybody:
        yield everybody.values


async def signed_in(browser: Browser, region: Region, user: str) -> Person:
    """Somebody who went through Keycloak."""
    person = await Person.at(browser, region.state, user)
    await person.sign_in()
    return person


async def test_share_link_opens_the_images_until_it_is_revoked(
    region: Region, browser: Browser, known: dict[str, str]
) -> None:
    doctor = await signed_in(browser, region, OWN)
    page = doctor.page
    await page.goto(f"{region.portal}/portal/studies")
    await page.locator(f'[data-study="{known["study"]}"] [data-testid="share-study"]').click()
    await page.fill('[name="note"]', "给外院医生会诊")
    await page.click('[data-testid="make-share"]')
    link = await page.locator('[data-testid="share-link"]').input_value()
    await doctor.picture("share-made")

    guest = await (await browser.new_context()).new_page()
    await guest.goto(link)
    assert "#" not in guest.url
    await browser.picture(guest, "share-visit")
    await guest.click('[data-testid="open-share"]')
    await guest.wait_for_url("**/viewer?**")
    await Person.wait_until_drawn(guest)
    await guest.goto(f"{region.portal}/portal/studies")
    await expect(guest.locator('[data-error="error.window"]')).to_be_visible()
    await browser.picture(guest, "window-closed")

    await page.goto(f"{region.portal}/portal/shares")
    row = page.locator('[data-testid="share-row"]').first
    await expect(row).to_have_attribute("data-opens", "1")
    await row.locator('[data-testid="revoke-share"]').click()
    await expect(page.locator('[data-testid="share-row"]').first).to_have_attribute("data-state", "ended")
    answer = await guest.request.get(f"{region.portal}/dicomweb/studies/{known['study']}/metadata")
    assert answer.status == 401
    await guest.goto(link)
    await guest.click('[data-testid="open-share"]')
    await expect(guest.locator('[data-text="shares.revoked"]')).to_be_visible()
    await browser.picture(guest, "share-revoked")


async def test_broken_glass_opens_one_resident_and_the_privacy_officer_is_told(
    region: Region, browser: Browser, known: dict[str, str]
) -> None:
    officer, doctor = await signed_in(browser, region, AUDITOR), await signed_in(browser, region, FOREIGN)
    before = int(await officer.page.locator('[data-testid="bell"]').get_attribute("data-count") or 0)
    page = doctor.page
    await page.goto(f"{region.portal}/portal/studies")
    await page.fill('[name="words"]', f"{known['resident']}x")
    await page.click('[data-testid="search-button"]')
    await page.click('[data-testid="glass-link"]')
    await page.fill('[name="resident"]', known["resident"])
    await page.fill('[name="reason"]', "急诊抢救，需要既往胸部影像")
    await page.check('[data-testid="glass-sure"]')
    await page.click('[data-testid="glass-break"]')
    await page.wait_for_url("**/portal/studies")
    await expect(page.locator(f'[data-study="{known["study"]}"]')).to_be_visible()
    await expect(page.locator('[data-testid="glass-banner"]').first).to_be_visible()
    await doctor.picture("glass-broken")
    await doctor.open_study(known["study"], picture="glass-viewer")

    await expect(officer.page.locator('[data-testid="bell"]')).not_to_have_attribute("data-count", str(before))
    await officer.page.goto(f"{region.portal}/portal/notices")
    told = officer.page.locator('.notices a[href="/portal/audit"]').first
    await expect(told).to_contain_text("紧急调阅")
    assert known["resident"] not in await officer.page.locator(".notices").inner_text()

    await page.goto(f"{region.portal}/portal/break-glass")
    for _ in range(await page.locator('[data-testid="glass-end"]').count()):
        await page.locator('[data-testid="glass-end"]').first.click()
        await page.wait_for_load_state()
    await expect(page.locator('[data-testid="glass-end"]')).to_have_count(0)
    answer = await page.request.get(f"{region.portal}/dicomweb/studies/{known['study']}/metadata")
    assert answer.status == 404
