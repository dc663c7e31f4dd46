"""A whole escalated case, played by four people in four sessions: asked, escalated, answered one level up, reviewed,
signed, read; and its report in the portal, in the applicant's archive as an Encapsulated PDF, and in the EHR."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Frame, Page, expect

from imaging_common.testing.waiting import until
from imaging_native.region import Region
from imaging_native.story.browser import DEADLINE_MS, Browser, Person
from imaging_native.story.consult import ConsultScene
from imaging_native.tokens import person_token

from .test_ehr import Patient, ehr_with, send
from .test_portal import PICTURES, signed_in

APPLICANT, EXPERT, CHIEF, SPECIALIST = "doctor.community", "expert.secondary", "chief.secondary", "doctor.tertiary"
STATE = '[data-testid="consult-state"]'
OPINION = "右上肺 8 mm 实性结节，倾向良性。"
FINDINGS = "右上肺见一 8 mm 实性结节，边界清。"
IMPRESSION = "右上肺结节，结合上级医院意见，倾向良性，建议三个月后复查。"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium; each person has a context of their own."""
    expect.set_options(timeout=DEADLINE_MS)
    async with Browser(PICTURES) as browser:
        yield browser
        await browser.picture_all("last")


async def act(page: Page, action: str, state: str) -> None:
    """Click, and see the state that it leads to."""
    await page.click(f'[data-testid="{action}-consult"]')
    await expect(page.locator(STATE)).to_have_attribute("data-state", state)


async def write(page: Page, findings: str, impression: str) -> None:
    """Write in the editor until it says that it is saved."""
    await page.click('[data-testid="open-editor"]')
    await page.wait_for_url("**/report")
    await page.fill('[name="findings"]', findings)
    await page.fill('[name="impression"]', impression)
    await expect(page.locator('[data-testid="saved"]')).to_have_attribute("data-level", "good")


async def viewer_of(page: Page) -> Frame:
    """The viewer beside a case."""
    handle = await page.wait_for_selector('iframe[data-testid="viewer"]')
    frame = await handle.content_frame() if handle else None
    assert frame is not None
    return frame


async def sign(person: Person, button: str, told: str) -> None:
    """Sign with a fresh proof, which who signed in within the last minutes has already; the case says what happened."""
    page = person.page
    await page.click(f'[data-testid="{button}"]')
    await page.wait_for_url(lambda url: "/realms/" in url or f"told={told}" in url)
    if "/realms/" in page.url:
        await person.prove_again()
    await page.wait_for_url(f"**/portal/consults/*?told={told}")


@asynccontextmanager
async def second_reader_always(region: Region) -> AsyncIterator[None]:
    """The secondary hospital's policy: every report has a second reader."""
    where = "/consults/policies/secondary"
    token = await person_token(region.state, "operator.region", region.client_secret("portal"))
    async with httpx.AsyncClient(base_url=region.state["consult"], headers={"Authorization": f"Bearer {token}"}) as api:
        before = (await api.get(where)).raise_for_status().json()
        kept = await api.put(where, json={**before, "second_reader": "always"})
        revision = kept.raise_for_status().json()["revision"]
        try:
            yield
        finally:
            (await api.put(where, json={**before, "revision": revision})).raise_for_status()


@asynccontextmanager
async def signed_within(region: Region, seconds: int) -> AsyncIterator[None]:
    """A signature needs a sign-in that is no older, so that everybody is asked again at every one."""
    consult = region.processes["consult"]

    async def again() -> None:
        await consult.stop()
        await consult.start()

    consult.extra_env["CONSULT_SIGNING_SECONDS"] = str(seconds)
    await again()
    try:
        yield
    finally:
        del consult.extra_env["CONSULT_SIGNING_SECONDS"]
        await again()


async def test_four_people_play_an_escalated_case(region: Region, browser: Browser, tmp_path: Path) -> None:
    async with second_reader_always(region), signed_within(region, 20):
        await play(region, browser, tmp_path)


async def play(region: Region, browser: Browser, tmp_path: Path) -> None:
    """From the application to the receipt."""
    patient = Patient()
    ehr = await ehr_with(region, await browser.new_context(), browser, patient)
    series = await send(region, tmp_path, patient)
    applicant, expert, chief, specialist = [
        await signed_in(browser, region, user) for user in (APPLICANT, EXPERT, CHIEF, SPECIALIST)
    ]

    # The community doctor asks; the expert takes the case and reads.
    await ConsultScene(applicant, expert, series.study_uid).apply()
    case = applicant.page.url.removeprefix(applicant.portal)
    await expert.page.goto(expert.portal + case)
    await act(expert.page, "claim", "assigned")
    await act(expert.page, "read", "reading")
    await expert.wait_until_drawn(await viewer_of(expert.page))
    await expect(applicant.page.locator(STATE)).to_have_attribute("data-state", "reading")

    # They talk, about one image.
    await expert.page.fill("#comment-text", "这个层面请看")
    await expert.page.click(".mentions label")
    await expert.page.click('[data-testid="comment-image"]')
    await expect(expert.page.locator('[data-testid="comment-image"]')).to_have_attribute("aria-pressed", "true")
    await expert.page.click('[data-testid="send-comment"]')
    heard = applicant.page.locator('[data-testid="comment"]', has_text="这个层面请看")
    await expect(heard.locator('[data-testid="comment-key-image"]')).to_be_visible()
    await heard.locator('[data-testid="comment-key-image"]').click()
    await applicant.wait_until_drawn(await viewer_of(applicant.page))
    await browser.picture(applicant.page, "escalated-discussion")

    # One level up.
    await expert.page.click('[data-testid="escalate-details"] summary')
    await expert.page.select_option('[name="target_kind"]', "hospital")
    await expert.page.select_option('[name="target_hospital"]', "tertiary")
    await expert.page.click('[data-testid="escalate-consult"]')
    child = str(await expert.page.locator('[data-testid="lineage"] a').get_attribute("href"))
    await specialist.page.goto(specialist.portal + child)
    await act(specialist.page, "claim", "assigned")
    await act(specialist.page, "read", "reading")
    await write(specialist.page, OPINION, OPINION)
    await specialist.wait_until_drawn(await viewer_of(specialist.page))
    await specialist.page.click('[data-testid="insert-image"]')
    await expect(specialist.page.locator('[data-testid="editor-images"] li')).to_have_count(1)
    await browser.picture(specialist.page, "escalated-editor")
    await sign(specialist, "issue-report", "signed")

    # The opinion comes back by itself; the expert writes, the chief reads it too, the expert signs.
    await expect(expert.page.locator('[data-testid="opinions"]')).to_contain_text(OPINION)
    await write(expert.page, FINDINGS, IMPRESSION)
    await expert.page.click('[data-testid="request-review"]')
    await expect(expert.page.locator(STATE)).to_have_attribute("data-state", "in-review")
    await chief.page.goto(chief.portal + case)
    await chief.page.click('[data-testid="open-review"]')
    await expect(chief.page.locator('[data-testid="review-findings"]')).to_have_text(FINDINGS)
    await browser.picture(chief.page, "escalated-review")
    await sign(chief, "approve-report", "approved")
    await expect(expert.page.locator(STATE)).to_have_attribute("data-state", "approved")
    await expert.page.click('[data-testid="open-editor"]')
    await sign(expert, "issue-report", "signed")

    # The applicant reads it on the page that was open all the time.
    await expect(applicant.page.locator('[data-testid="report-impression"]')).to_have_text(IMPRESSION)
    await browser.picture(applicant.page, "escalated-report")
    await act(applicant.page, "acknowledge", "acknowledged")

    # In the portal as a PDF, in the applicant's archive as an Encapsulated PDF, and in the EHR.
    delivery = applicant.page.locator('[data-testid="delivery"]')
    await expect(delivery).to_have_attribute("data-delivery", "stored")
    link = await applicant.page.locator('[data-testid="report-pdf"]').get_attribute("href")
    pdf = await applicant.context.request.get(f"{applicant.portal}{link}")
    assert (await pdf.body()).startswith(b"%PDF-")
    archive = region.state["archives"]["community"]["dicomweb"]

    async def archived() -> bool:
        async with httpx.AsyncClient() as client:
            found = await client.get(
                f"{archive}/studies/{series.study_uid}/instances", params={"SOPClassUID": PDF_CLASS}
            )
        return found.status_code == 200 and len(found.json()) == 1

    await until(archived, 60, "the report in the applicant's archive")
    await expect(ehr.page.locator('[data-testid="ehr-report"]', has_text=IMPRESSION)).to_have_count(1)


PDF_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"
"""Encapsulated PDF Storage."""
