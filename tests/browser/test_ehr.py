"""The EHR on another site: it embeds the viewer, follows the events, reminds before an order, and launches by SMART."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from playwright.async_api import BrowserContext, Page, Route, expect
from pydicom import dcmread

from imaging_native import ct
from imaging_native.region import Region
from imaging_native.story.browser import DEADLINE_MS, Browser, Person
from imaging_native.story.ehr import EhrPage, token_of
from imaging_native.story.images import ImageScene

PICTURES = Path(os.environ["PICTURES"]) if "PICTURES" in os.environ else None
SLICES = 4


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium without third-party cookies other than partitioned ones; `PICTURES=<folder>` keeps screenshots."""
    expect.set_options(timeout=DEADLINE_MS)
    async with Browser(PICTURES, "--test-third-party-cookie-phaseout") as browser:
        yield browser


class Patient:
    """Somebody made up for one test: a resident of the EHR, and a patient of the community hospital."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(4)
        self.resident = f"R-{self.mark}"
        self.number = f"E-{self.mark}"

    def person(self) -> ct.Person:
        return ct.Person(self.number, f"Ren^{self.mark}=任^杰", "19700601", "M")


async def send(region: Region, folder: Path, patient: Patient) -> ct.Series:
    """A small chest CT of this patient arrives at the community hospital."""
    seed = secrets.randbelow(10**9)
    person = patient.person()
    series = await asyncio.to_thread(ct.write_series, folder, slices=SLICES, seed=seed, person=person)
    await asyncio.to_thread(made_today, series)
    scene = ImageScene(region.state, folder, SLICES)
    try:
        await scene.dcmsend(series.files)
    finally:
        await scene.aclose()
    return series


def made_today(series: ct.Series) -> None:
    """Recent, whenever the test runs."""
    for path in series.files:
        instance = dcmread(path)
        instance.StudyDate = f"{datetime.now(UTC):%Y%m%d}"
        instance.save_as(path)


async def ehr_with(region: Region, context: BrowserContext, browser: Browser, patient: Patient) -> EhrPage:
    """The page of a new record that is linked to the patient's number at the community hospital."""
    ehr = EhrPage(region.state, await context.new_page(), browser)
    await ehr.create(patient.resident, "任杰")
    await ehr.link("community", patient.number)
    return ehr


async def test_record_follows_the_events_and_shows_pixels_in_its_frame(
    region: Region, browser: Browser, tmp_path: Path
) -> None:
    patient = Patient()
    context = await browser.new_context()
    ehr = await ehr_with(region, context, browser, patient)
    await expect(ehr.page.locator('[data-testid="ehr-no-studies"]')).to_be_visible()
    await ehr.page.evaluate("window.notReloaded = true")
    series = await send(region, tmp_path, patient)
    await ehr.study_appears(series.study_uid, SLICES)
    assert await ehr.page.evaluate("window.notReloaded")
    await browser.picture(ehr.page, "ehr-record")
    await ehr.open_images(series.study_uid)
    await browser.picture(ehr.page, "ehr-viewer")
    assert all("code" not in frame.url and "token" not in frame.url for frame in ehr.page.frames)
    cookies = {c["name"] for c in await context.cookies() if "value" in c and "name" in c and c.get("httpOnly")}
    assert any(name.startswith(("__Host-launch", "launch-")) for name in cookies)


async def test_order_reminds_of_what_was_examined_and_opens_it(
    region: Region, browser: Browser, tmp_path: Path
) -> None:
    patient = Patient()
    ehr = await ehr_with(region, await browser.new_context(), browser, patient)
    series = await send(region, tmp_path, patient)
    await ehr.study_appears(series.study_uid, SLICES)
    await ehr.page.click('[data-testid="ehr-order"]')
    await expect(ehr.page.locator(f'[data-testid="ehr-reminder"] [data-study="{series.study_uid}"]')).to_be_visible()
    await browser.picture(ehr.page, "ehr-order")
    await ehr.page.select_option('[name="modality"]', "MR")
    await expect(ehr.page.locator('[data-testid="ehr-no-reminder"]')).to_be_visible()
    await ehr.page.select_option('[name="modality"]', "CT")
    await ehr.page.click('[data-testid="ehr-reminder-open"]')
    await ehr.pixels()


async def test_portal_reminds_in_its_order_form(region: Region, browser: Browser, tmp_path: Path) -> None:
    patient = Patient()
    series = await send(region, tmp_path, patient)
    doctor = await Person.at(browser, region.state, "doctor.community")
    await doctor.sign_in()
    await expect_listed(doctor, series)
    await doctor.page.goto(f"{doctor.portal}/portal/orders")
    form = doctor.page.locator('[data-testid="order-form"]')
    await form.locator('[name="patient_id"]').fill(patient.number)
    await form.locator('[name="body_part"]').fill("CHEST")
    row = doctor.page.locator(f'[data-testid="recent-row"][data-study="{series.study_uid}"]')
    await expect(row).to_be_visible()
    await browser.picture(doctor.page, "portal-order-reminder")
    async with doctor.context.expect_page() as opened:
        await row.locator('[data-testid="recent-images"]').click()
    await doctor.wait_until_drawn(await opened.value)


async def expect_listed(doctor: Person, series: ct.Series) -> None:
    """The portal knows the study."""
    await doctor.page.goto(f"{doctor.portal}/portal/studies")
    await expect(doctor.page.locator(f'[data-study="{series.study_uid}"]')).to_be_visible(timeout=DEADLINE_MS)


async def test_smart_launch_opens_the_same_images(region: Region, browser: Browser, tmp_path: Path) -> None:
    patient = Patient()
    context = await browser.new_context()
    ehr = await ehr_with(region, context, browser, patient)
    series = await send(region, tmp_path, patient)
    await ehr.study_appears(series.study_uid, SLICES)
    async with context.expect_page() as opened:
        await ehr.page.click(f'[data-study="{series.study_uid}"] [data-testid="ehr-smart"]')
    viewer: Page = await opened.value
    await viewer.wait_for_url(f"{region.portal}/viewer?**", timeout=DEADLINE_MS)
    assert series.study_uid in viewer.url
    await Person.wait_until_drawn(viewer)


async def test_new_tab_is_offered_when_the_browser_blocks_third_party_storage(
    region: Region, browser: Browser, tmp_path: Path
) -> None:
    patient = Patient()
    context = await browser.new_context()
    ehr = await ehr_with(region, context, browser, patient)
    series = await send(region, tmp_path, patient)
    await ehr.study_appears(series.study_uid, SLICES)

    async def without_cookies(route: Route) -> None:
        """What a browser does that blocks all storage of embedded sites: it keeps none of their cookies."""
        sent = {name: value for name, value in route.request.headers.items() if name != "cookie"}
        async with httpx.AsyncClient(timeout=30) as http:
            answer = await http.request(
                route.request.method, route.request.url, headers=sent, content=route.request.post_data_buffer
            )
        kept = {name: value for name, value in answer.headers.items() if name not in ("set-cookie", "content-length")}
        await route.fulfill(status=answer.status_code, headers=kept, body=answer.content)

    await context.route(f"{region.portal}/launch**", without_cookies)
    await ehr.ask_for_images(series.study_uid)
    frame = ehr.page.frame_locator('[data-testid="ehr-frame"]')
    await expect(frame.locator('[data-testid="launch-blocked"]')).to_be_visible(timeout=DEADLINE_MS)
    await browser.picture(ehr.page, "ehr-blocked")
    await context.unroute(f"{region.portal}/launch**")
    async with context.expect_page() as opened:
        await frame.locator('[data-testid="launch-new-tab"]').click()
    viewer: Page = await opened.value
    await Person.wait_until_drawn(viewer)
    assert viewer.url.startswith(f"{region.portal}/viewer?")


async def test_launch_code_is_taken_once_by_fifty_at_the_same_time(region: Region, tmp_path: Path) -> None:
    ehr = region.state["ehr"]
    asked = {"user": "doctor.community", "name": "陈建国", "resident": "R-0001", "purpose": "TREAT"}
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=60)) as client:
        bearer = {"Authorization": f"Bearer {await token_of(region.state, client)}"}
        made = await client.post(f"{region.portal}/launches", json=asked, headers=bearer)
        assert made.status_code == 201
        code, gateways = made.json()["code"], region.state["gateways"]

        async def exchange(number: int) -> httpx.Response:
            headers = {"Origin": ehr["url"], "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
            async with httpx.AsyncClient(timeout=60) as browser:
                url = f"{gateways[number % len(gateways)]}/launch"
                return await browser.post(url, data={"code": code}, headers=headers)

        answers = await asyncio.gather(*(exchange(number) for number in range(50)))
    won = [answer for answer in answers if "set-cookie" in answer.headers]
    assert sorted({answer.status_code for answer in answers}) == [200, 409]
    assert len(won) == 1
    assert won[0].status_code == 200
