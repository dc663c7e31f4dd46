"""The consult's part of the story: apply, accept, read, report, and the answer that appears by itself."""

from playwright.async_api import Frame, expect

from imaging_native.story.application_form import write_application
from imaging_native.story.browser import DEADLINE_MS, Person

FINDINGS = "右肺上叶见一直径约 12 mm 的结节，边缘光滑，未见胸腔积液。"
IMPRESSION = "右肺上叶结节，建议三个月后复查。"


class ConsultScene:
    """A doctor of the community hospital asks; an expert of the secondary hospital answers."""

    def __init__(self, doctor: Person, expert: Person, study_uid: str) -> None:
        self._doctor, self._expert, self._study_uid = doctor, expert, study_uid
        self._path = ""

    async def apply(self) -> str:
        """Fill in the application from the study list and submit it."""
        page = self._doctor.page
        await page.goto(f"{self._doctor.portal}/portal/studies")
        await page.click(f'[data-testid="apply-consult"][href*="{self._study_uid}"]')
        await write_application(page, "secondary", "右肺结节性质待定，请协助诊断。")
        await self._doctor.picture("consult-application")
        await page.click('[data-testid="submit-consult"]')
        await page.wait_for_url("**/portal/consults/*")
        await expect(page.locator('[data-testid="consult-state"]')).to_have_attribute("data-state", "submitted")
        self._path = page.url.removeprefix(self._doctor.portal)
        return f"submitted, {self._path}"

    async def accept(self) -> str:
        """The expert finds the case in the received box and accepts it."""
        page = self._expert.page
        await page.goto(f"{self._expert.portal}/portal/consults?box=received")
        await self._expert.picture("consults-received")
        await page.click(f'[data-testid="open-consult"][href="{self._path}"]')
        await page.click('[data-testid="accept-consult"]')
        await expect(page.locator('[data-testid="consult-state"]')).to_have_attribute("data-state", "accepted")
        return "state accepted"

    async def read(self) -> str:
        """The expert takes the case; the images of another hospital are in the same viewer, beside the case."""
        state = self._expert.page.locator('[data-testid="consult-state"]')
        await self._expert.page.click('[data-testid="claim-consult"]')
        await expect(state).to_have_attribute("data-state", "assigned")
        await self._expert.page.click('[data-testid="read-consult"]')
        await expect(state).to_have_attribute("data-state", "reading")
        await self._expert.wait_until_drawn(await self._viewer())
        await self._expert.picture("consult-expert-reading")
        return "first image drawn beside the case"

    async def _viewer(self) -> Frame:
        handle = await self._expert.page.wait_for_selector('iframe[data-testid="viewer"]')
        frame = await handle.content_frame() if handle else None
        if frame is None:
            raise AssertionError("the consult page has no viewer")
        return frame

    async def issue(self) -> str:
        """Write the report beside the images, sign it as oneself, and see it issued."""
        page = self._expert.page
        await page.click('[data-testid="open-editor"]')
        await page.wait_for_url("**/report")
        await page.fill('[name="findings"]', FINDINGS)
        await page.fill('[name="impression"]', IMPRESSION)
        await self._expert.picture("consult-report-form")
        await page.click('[data-testid="issue-report"]')
        issued = '[data-testid="consult-state"][data-state="issued"]'
        await page.wait_for_selector(f"#password, {issued}")
        if await page.locator("#password").is_visible():  # Not when the expert signed in within the last minutes.
            await self._expert.prove_again()
        await expect(page.locator('[data-testid="consult-state"]')).to_have_attribute("data-state", "issued")
        return "state issued"

    async def applicant_sees_report(self) -> str:
        """The applicant's page, opened before the expert began, shows the report by itself."""
        report = self._doctor.page.locator('[data-testid="report-impression"]')
        await expect(report).to_contain_text(IMPRESSION, timeout=DEADLINE_MS)
        await self._doctor.picture("consult-applicant-report")
        return "impression on the page that was open all the time"
