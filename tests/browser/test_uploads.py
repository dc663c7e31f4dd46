"""Uploads in a real browser against the whole region: a CD's folder, the same again, a ZIP, and a pause."""

import asyncio
import secrets
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from imaging_native import ct
from imaging_native.region import Region
from imaging_native.story.browser import DEADLINE_MS, Browser, Person

DOCTOR = "doctor.community"


@pytest.fixture
async def page(region: Region) -> AsyncIterator[Page]:
    """The doctor's upload page."""
    expect.set_options(timeout=DEADLINE_MS)
    async with Browser(None) as browser:
        person = await Person.at(browser, region.state, DOCTOR)
        await person.sign_in()
        await person.page.goto(f"{person.portal}/portal/uploads")
        yield person.page


async def series_in(folder: Path, slices: int) -> ct.Series:
    """A new small CT series, as files."""
    await asyncio.to_thread(folder.mkdir)
    return await asyncio.to_thread(ct.write_series, folder, slices=slices, seed=secrets.randbelow(10**9))


def zip_up(archive: Path, files: list[Path]) -> None:
    """The files and a broken one in a ZIP."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for number, file in enumerate(files):
            target.write(file, f"影像/{number}.dcm")
        target.writestr("影像/broken.dcm", files[0].read_bytes()[:1200])


async def totals(page: Page, **wanted: int) -> None:
    """Wait until the page says so."""
    for name, count in wanted.items():
        await expect(page.locator(f'[data-testid="total-{name}"]')).to_have_text(str(count), timeout=DEADLINE_MS)


async def drop(page: Page, *paths: Path) -> None:
    """Drag files and folders from the desktop into the page."""
    box = await page.locator("[data-drop]").bounding_box()
    assert box is not None
    devtools = await page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"type": kind, "x": box["x"] + 40, "y": box["y"] + 20, "data": data}
        await devtools.send("Input.dispatchDragEvent", place)


async def test_dropped_folder_is_stored_shown_and_not_stored_twice(page: Page, tmp_path: Path) -> None:
    series = await series_in(tmp_path / "cd", 6)
    (tmp_path / "cd" / "README.TXT").write_text("no image")
    await drop(page, tmp_path / "cd")
    await totals(page, stored=6, skipped=1, refused=0, waiting=0)
    study = page.locator(f'[data-testid="uploaded-study"][data-study="{series.study_uid}"]')
    await expect(study).to_be_visible(timeout=DEADLINE_MS)
    await page.reload()
    await page.set_input_files('[data-testid="choose-folder"]', tmp_path / "cd")
    await totals(page, duplicate=6, stored=0)
    await page.goto(page.url.replace("uploads", "studies"))
    row = page.locator(f'[data-study="{series.study_uid}"]')
    await expect(row).to_be_visible(timeout=DEADLINE_MS)
    await row.locator('[data-testid="open-patient"]').click()
    await expect(page.locator(f'[data-testid="entry"][data-study="{series.study_uid}"]')).to_be_visible()


async def test_zip_is_unpacked_and_what_is_broken_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    series = await series_in(tmp_path / "files", 3)
    archive = tmp_path / "study.zip"
    await asyncio.to_thread(zip_up, archive, series.files)
    await page.set_input_files('[data-testid="choose-files"]', archive)
    await totals(page, stored=3, refused=1)
    refused = page.locator('[data-testid="result"][data-state="refused"]')
    await expect(refused).to_contain_text("study.zip/影像/broken.dcm")
    await expect(refused).to_contain_text("未接收")


async def test_interrupted_upload_goes_on_after_a_pause_and_after_errors(page: Page, tmp_path: Path) -> None:
    await series_in(tmp_path / "cd", 4)
    failures = iter(["abort", "away"])

    async def unreliable(route: Route) -> None:
        match next(failures, ""):
            case "abort":
                await route.abort()
            case "away":
                await route.fulfill(status=503)
            case _:
                await route.continue_()

    await page.route("**/portal/uploads/batch", unreliable)
    await page.set_input_files('[data-testid="choose-folder"]', tmp_path / "cd")
    await page.click('[data-testid="pause"]')
    await expect(page.locator('[data-testid="upload-state"]')).to_contain_text("已暂停")
    await page.click('[data-testid="pause"]')
    await totals(page, stored=4, failed=0, waiting=0)
