"""A doctor opens a study that lies in the hospital's own PACS and that nobody has seen, in OHIF."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from imaging_native import ct
from imaging_native.distributed import fill_pacs
from imaging_native.region import Region
from imaging_native.story.browser import DEADLINE_MS, Browser, Person

PICTURES = Path(os.environ["PICTURES"]) if "PICTURES" in os.environ else None


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium; `PICTURES=<folder>` keeps screenshots."""
    expect.set_options(timeout=DEADLINE_MS)
    async with Browser(PICTURES) as browser:
        yield browser


@pytest.mark.parametrize("hospital", ["tertiary", "tcm"])
async def test_doctor_sees_pixels_of_a_study_never_seen_before(
    region: Region, browser: Browser, tmp_path: Path, hospital: str
) -> None:
    series = await asyncio.to_thread(ct.write_series, tmp_path, slices=40, seed=secrets.randbelow(10**9))
    await fill_pacs(region.state["pacs"][hospital], series.files)
    doctor = await Person.at(browser, region.state, f"doctor.{hospital}")
    await doctor.sign_in()
    await doctor.page.goto(f"{doctor.portal}/portal/studies")
    row = doctor.page.locator(f'[data-study="{series.study_uid}"]')
    await expect(row.locator('[data-availability="NEARLINE"]')).to_be_visible(timeout=DEADLINE_MS)
    await doctor.picture(f"list-nearline-{hospital}")
    blocked: list[str] = []
    doctor.context.on("console", lambda m: blocked.append(m.text) if "Content Security Policy" in m.text else None)
    viewer = await doctor.context.new_page()
    link = row.locator('[data-testid="view-study"]')
    await viewer.goto(doctor.portal + str(await link.get_attribute("href")))
    await doctor.wait_until_drawn(viewer)
    await browser.picture(viewer, f"viewer-{hospital}")
    await expect(viewer.locator("#region-bar [data-availability]")).to_be_visible()
    await expect(viewer.locator('#region-bar [data-availability="ONLINE"]')).to_be_visible()
    await expect(row.locator('[data-tier="cached"]')).to_be_visible()
    await doctor.picture(f"list-cached-{hospital}")
    assert blocked == []
