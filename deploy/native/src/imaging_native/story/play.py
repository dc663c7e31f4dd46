"""Plays the steps in order, prints each with its time, and names the step that failed."""

import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from imaging_native import ct
from imaging_native.story.browser import Browser, Person, map_hosts, trust_origins
from imaging_native.story.consult import ConsultScene
from imaging_native.story.distributed import PacsScene, SharedCase
from imaging_native.story.ehr import EhrPage, EhrSubscriber
from imaging_native.story.images import ImageScene


class StoryFailed(Exception):
    """A step did not come out as it should; `step` is its name."""

    def __init__(self, step: str, cause: BaseException) -> None:
        super().__init__(f"{step}: {type(cause).__name__}: {cause}")
        self.step = step


async def play(state: dict[str, Any], *, slices: int = 120, pictures: Path | None = None) -> None:
    """Play the whole story against a running region.

    Parameters
    ----------
    state
        What `REGION_STATE` holds: addresses, users, Kafka credentials.
    slices
        Number of 526 KB CT slices that are sent.
    pictures
        Folder for screenshots; none are taken without it.

    Raises
    ------
    StoryFailed
        With the name of the step.
    """
    async with AsyncExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="region-story-")))
        ehr = await stack.enter_async_context(EhrSubscriber(state))
        arguments = [*map_hosts(state.get("browser_hosts", {})), *trust_origins(state.get("secure_origins", ""))]
        browser = await stack.enter_async_context(Browser(pictures, *arguments))
        doctor = await Person.at(browser, state, "doctor.community")
        images = ImageScene(state, work, slices)
        consult: ConsultScene | None = None
        record = EhrPage(state, await (await browser.new_context()).new_page(), browser)
        tertiary, tcm = PacsScene(state, work, "tertiary"), PacsScene(state, work, "tcm")

        async def sign_in() -> str:
            await doctor.sign_in()
            images.use_session(await doctor.cookies())
            return "doctor.community, at Keycloak"

        async def open_study() -> str:
            nonlocal consult
            await doctor.open_study(images.ct.study_uid, picture="viewer-doctor")
            expert = await Person.at(browser, state, "expert.secondary")
            await expert.sign_in()
            expert.portal = state["gateways"][-1]  # where there are two copies, each of the two sits at another one
            consult = ConsultScene(doctor, expert, images.ct.study_uid)
            return "in OHIF, first image drawn"

        async def show_record() -> str:
            await record.show("R-0001")
            await record.link("community", ct.WANG.patient_id)
            await record.study_appears(images.ct.study_uid, slices)
            await record.picture("ehr-record")
            return "R-0001, linked to the community hospital's patient"

        async def embed_viewer() -> str:
            await record.open_images(images.ct.study_uid)
            await record.picture("ehr-viewer")
            return "in the EHR's frame, from another site, first image drawn"

        def scene() -> ConsultScene:
            assert consult is not None
            return consult

        for one in (images, tertiary, tcm):
            stack.push_async_callback(one.aclose)
        steps: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("write the test images", images.write),
            ("sign in at the portal", sign_in),
            ("send with dcmsend", images.send),
            ("find the study in QIDO-RS", images.find),
            ("frames from staging", images.frames_from_staging),
            ("StudyChanged reaches the EHR", lambda: ehr.study_changes(images.ct.study_uid, slices)),
            ("frames from the archive", images.frames_from_archive),
            ("every file comes back byte for byte", images.compare_files),
            ("the doctor opens the study", open_study),
            ("the doctor applies for a consult", lambda: scene().apply()),
            ("the expert accepts", lambda: scene().accept()),
            ("the expert reads the images", lambda: scene().read()),
            ("the expert issues the report", lambda: scene().issue()),
            ("the applicant sees it without reloading", lambda: scene().applicant_sees_report()),
            ("ReportIssued reaches the EHR", ehr.report_issued),
            ("the EHR's page shows the new study by itself", show_record),
            ("the EHR's page shows its images", embed_viewer),
            ("a study in a PACS with DICOMweb is listed", tertiary.list_study),
            ("its doctor opens it, never seen before", lambda: tertiary.open_study(browser)),
            ("a study in a PACS without DICOMweb is listed", tcm.list_study),
            ("its doctor opens it, never seen before", lambda: tcm.open_study(browser)),
            ("a consult opens it to another hospital", lambda: SharedCase(tcm, tertiary).ask_and_read()),
        ]
        begun = time.monotonic()
        for name, step in steps:
            started = time.monotonic()
            try:
                outcome = await step()
            except Exception as error:
                await browser.picture_all(f"failed-{name.replace(' ', '-')}")
                raise StoryFailed(name, error) from error
            print(f"  {time.monotonic() - started:6.2f} s  {name}: {outcome}", flush=True)
        print(f"  {time.monotonic() - begun:6.2f} s  the whole story", flush=True)
