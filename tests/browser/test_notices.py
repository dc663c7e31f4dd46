"""The bell in two tabs, the list of notices, how one is told, and the operators' log, with real browsers."""

import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Page as Tab
from playwright.async_api import expect
from pydantic import SecretStr

from imaging_common.events import EVENT_TYPES
from imaging_common.messaging import KafkaPublisher
from imaging_common.settings import ServiceSettings
from imaging_native.region import Region
from imaging_native.story.browser import Browser, Person

DOCTOR, OPERATOR = "doctor.community", "operator.region"
PICTURES = os.environ.get("PICTURES", "")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with Browser(Path(PICTURES) if PICTURES else None) as browser:
        yield browser


async def signed_in(browser: Browser, region: Region, user: str) -> Person:
    person = await Person.at(browser, region.state, user)
    await person.sign_in()
    return person


async def told(region: Region, kind: str, **more: Any) -> str:
    """An event of a new case, as the consult service publishes it; the case's number."""
    state = region.state["kafka"]
    settings = ServiceSettings(
        kafka_bootstrap=state["bootstrap"],
        kafka_username="consult",
        kafka_password=SecretStr(state["users"]["consult"]),
    )
    publisher, case = KafkaPublisher("consult", settings), uuid4().hex
    known: dict[str, Any] = {
        "consult_id": case, "number": f"C-{case[:8]}", "version": {"epoch": 1, "n": 1}, "state": "accepted",
        "applicant": DOCTOR, "applicant_hospital": "community", "consultant_hospital": "secondary", "studies": [],
        "at": datetime.now(UTC), "report_id": "r", "report_version": 1,
    }  # fmt: skip
    topic = "report-changed" if kind.startswith("Report") else "consult-changed"
    await publisher.publish(topic, EVENT_TYPES[kind].model_validate(known | more), case)
    await publisher.stop()
    return str(known["number"])


def bell(tab: Tab) -> Any:
    return tab.locator('[data-testid="bell"]')


async def test_bell_counts_the_same_in_every_tab_and_after_a_reload(region: Region, browser: Browser) -> None:
    doctor = await signed_in(browser, region, DOCTOR)
    first, second = doctor.page, await doctor.page.context.new_page()
    for tab, path in ((first, "notices"), (second, "preferences")):
        await tab.goto(f"{region.portal}/portal/{path}")
        if await tab.locator('[data-testid="all-seen"]').count():
            await tab.click('[data-testid="all-seen"]')
        await expect(bell(tab)).to_have_attribute("data-count", "0")
    numbers = [await told(region, "ConsultAccepted"), await told(region, "ConsultRejected")]
    for tab in (first, second):
        await expect(bell(tab)).to_have_attribute("data-count", "2")
    for number in numbers:
        await expect(first.locator('[data-testid="notice"].new', has_text=number)).to_be_visible()
    await browser.picture(first, "notices-unread")
    await first.locator('[data-testid="notice"].new', has_text=numbers[0]).locator('[data-testid="seen"]').click()
    for tab in (first, second):
        await expect(bell(tab)).to_have_attribute("data-count", "1")
    await second.reload()
    await expect(bell(second)).to_have_attribute("data-count", "1")
    await first.click('[data-testid="all-seen"]')
    for tab in (first, second):
        await expect(bell(tab)).to_have_attribute("data-count", "0")
    await second.click('[data-testid="sign-out"]')
    await expect(first).to_have_url(f"{region.portal}/portal/welcome")


async def test_emergency_stands_on_the_page_and_log_and_settings_show_how_it_is_told(
    region: Region, browser: Browser
) -> None:
    doctor = await signed_in(browser, region, DOCTOR)
    await doctor.page.goto(f"{region.portal}/portal/notices")
    number = await told(region, "ReportIssued", critical=True, expert="expert.secondary")
    pressing = doctor.page.locator('#pressing [data-testid="pressing"]', has_text=number)
    await expect(pressing).to_be_visible()
    await expect(pressing.locator("a")).to_have_attribute("href", re.compile("^/portal/consults/"))
    await browser.picture(doctor.page, "notices-pressing")
    await doctor.page.goto(f"{region.portal}/portal/preferences")
    quiet = doctor.page.locator('[name="quiet"]')
    await quiet.check()
    await doctor.page.click('[data-testid="save"]')
    await expect(doctor.page.locator('[data-testid="message"]')).to_be_visible()
    await expect(quiet).to_be_checked()
    await browser.picture(doctor.page, "preferences")
    await quiet.uncheck()
    await doctor.page.click('[data-testid="save"]')
    await expect(quiet).not_to_be_checked()
    operator = await signed_in(browser, region, OPERATOR)
    await operator.page.goto(f"{region.portal}/portal/deliveries?user={DOCTOR}")
    sent = operator.page.locator('[data-testid="delivery"][data-state="sent"]', has_text=number)
    await expect(sent).to_have_count(2)
    await expect(operator.page.locator("main")).not_to_contain_text("doctor.community@")
    await browser.picture(operator.page, "deliveries")
