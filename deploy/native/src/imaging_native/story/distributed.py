"""The hospitals with a PACS of their own: listed without a pixel moved, opened on demand, shared by a case."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import expect

from imaging_native import ct
from imaging_native.distributed import compare_frame, fill_pacs, until_listed
from imaging_native.session import portal_client
from imaging_native.story.application_form import write_application
from imaging_native.story.browser import Browser, Person

SLICES = 60
PATIENTS = {
    "tertiary": ct.Person("T-2001", "Zhao^Min=赵^敏", "19591103", "F"),
    "tcm": ct.Person("Z-3001", "Qian^Guoqing=钱^国庆", "19491001", "M"),
}
MAKES = {"tertiary": "Orthanc, DICOMweb", "tcm": "dcmqrscp, DIMSE only"}


class PacsScene:
    """A doctor at a hospital whose images stay in its PACS."""

    def __init__(self, state: dict[str, Any], work: Path, hospital: str) -> None:
        self._state, self._hospital = state, hospital
        self._folder = work / f"pacs-{hospital}"
        self._web: httpx.AsyncClient | None = None
        self.doctor: Person
        self.series: ct.Series

    async def aclose(self) -> None:
        """Close the connection."""
        if self._web is not None:
            await self._web.aclose()

    async def list_study(self) -> str:
        """A modality stores a CT in the PACS; the region lists it, and no pixel has left the hospital."""
        seed = sum(map(ord, self._hospital)) + self._state.get("seed", 0)
        person = PATIENTS[self._hospital]
        self.series = await asyncio.to_thread(ct.write_series, self._folder, slices=SLICES, seed=seed, person=person)
        await fill_pacs(self._state["pacs"][self._hospital], self.series.files)
        self._web = await portal_client(self._state, f"doctor.{self._hospital}")
        row = await until_listed(self._web, self.series.study_uid, SLICES)
        availability = row["00080056"]["Value"][0]
        if availability != "NEARLINE":
            raise AssertionError(f"a study that nobody asked for is {availability}, not NEARLINE")
        return f"{SLICES} slices in the PACS ({MAKES[self._hospital]}), listed, NEARLINE"

    async def open_study(self, browser: Browser) -> str:
        """The doctor opens the never-seen study in OHIF; the frames are the pixels in the PACS."""
        self.doctor = await Person.at(browser, self._state, f"doctor.{self._hospital}")
        await self.doctor.sign_in()
        await self.doctor.picture(f"studies-{self._hospital}")
        await self.doctor.open_study(self.series.study_uid, picture=f"viewer-{self._hospital}")
        assert self._web is not None
        for file in self.series.files[::20]:
            await compare_frame(self._web, self.series, file)
        return "first image drawn, frames compared with the PACS"


class SharedCase:
    """A hospital with a PACS asks a higher one: the expert sees images that lie in the applicant's PACS."""

    def __init__(self, applicant: PacsScene, expert: PacsScene) -> None:
        self._applicant, self._expert = applicant, expert

    async def ask_and_read(self) -> str:
        """Apply from the one hospital, accept and look at the images from the other."""
        page, portal = self._applicant.doctor.page, self._applicant.doctor.portal
        study_uid = self._applicant.series.study_uid
        await page.goto(f"{portal}/portal/studies")
        await page.click(f'[data-testid="apply-consult"][href*="{study_uid}"]')
        await write_application(page, "tertiary", "纵隔占位，请会诊。")
        await page.click('[data-testid="submit-consult"]')
        await page.wait_for_url("**/portal/consults/*")
        path = page.url.removeprefix(portal)
        expert = self._expert.doctor
        await expert.page.goto(f"{expert.portal}{path}")
        await expert.page.click('[data-testid="accept-consult"]')
        await expect(expert.page.locator('[data-testid="consult-state"]')).to_have_attribute("data-state", "accepted")
        handle = await expert.page.wait_for_selector('iframe[data-testid="viewer"]', state="attached")
        assert handle is not None
        frame = await handle.content_frame()
        assert frame is not None
        await expert.wait_until_drawn(frame)
        await expert.picture("consult-distributed")
        return "the expert at the City Central Hospital sees the images of the other hospital's PACS"
