"""The portal in real Chromium: both languages, and a study list that is there after signing in."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from imaging_native.region import Region
from imaging_native.story.browser import Browser, Person


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with Browser(None) as browser:
        yield browser


async def test_person_is_sent_to_sign_in_when_they_open_the_portal_unknown(region: Region, browser: Browser) -> None:
    person = await Person.at(browser, region.state, "doctor.community")
    answer = await person.page.goto(f"{person.portal}/portal/studies")
    assert answer is not None
    await expect(person.page.locator("#username, a[href*='/auth/login']").first).to_be_visible()


async def test_portal_speaks_both_languages(region: Region, browser: Browser) -> None:
    person = await Person.at(browser, region.state, "doctor.community")
    await person.sign_in()
    await person.page.goto(f"{person.portal}/portal/studies")
    await expect(person.page.locator("html")).to_have_attribute("lang", "zh-CN")
    await person.page.get_by_text("English", exact=True).click()
    await expect(person.page.locator("html")).to_have_attribute("lang", "en")
    await person.page.get_by_text("中文", exact=True).click()
    await expect(person.page.locator("html")).to_have_attribute("lang", "zh-CN")


async def test_session_holds_at_the_other_copy_of_the_gateway(region: Region, browser: Browser) -> None:
    person = await Person.at(browser, region.state, "expert.secondary")
    await person.sign_in()
    cookies = await person.cookies()
    other = region.state["gateways"][1]
    context = await browser.new_context()
    await context.add_cookies([{"name": name, "value": value, "url": other} for name, value in cookies.items()])
    page = await context.new_page()
    await page.goto(f"{other}/portal/consults?box=received")
    await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    assert "/portal/consults" in page.url
    await context.close()
