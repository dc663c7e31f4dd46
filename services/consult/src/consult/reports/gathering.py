"""Everything that one issued version prints: the study's headers, the key images as pictures, who signs."""

import asyncio
from itertools import pairwise

from consult.model import Consult, KeyImage, Study
from consult.reports.errors import SourceUnavailable
from consult.reports.model import EarlierVersion, Header, OutputsTask, Page, Picture
from consult.reports.ports import Images, Letterheads, ReportBook

AT_ONCE = 3
"""Pictures that are asked for at the same time."""


def filed_in(consult: Consult) -> Study | None:
    """The study the report's objects are filed in: the first of the applicant's hospital, else the first of the case.

    A hospital's PACS gets objects of its own studies alone: there only it knows the patient.
    """
    own = [study for study in consult.studies if study.holder == consult.applicant_hospital]
    return next(iter([*own, *consult.studies]), None)


class Gathering:
    """Asks for it."""

    def __init__(
        self, book: ReportBook, images: Images, letterheads: Letterheads, portal_url: str, time_zone: str
    ) -> None:
        self._book = book
        self._images = images
        self._letterheads = letterheads
        self._portal_url = portal_url.rstrip("/")
        self._time_zone = time_zone

    async def page(self, task: OutputsTask, *, patient: bool) -> Page:
        """What this version prints.

        Parameters
        ----------
        patient
            Wait for what cannot be had now (`SourceUnavailable`); else it is left out.
        """
        consult = task.issued
        assert consult.report is not None
        study = filed_in(consult)
        headers = {one: await self._header(one, patient) for one in consult.studies}
        return Page(
            consult=consult,
            report=consult.report,
            letterhead=await self._letterheads.of(consult.expert_hospital or consult.consultant_hospital),
            applicant_hospital=await self._letterheads.of(consult.applicant_hospital),
            study=headers[study] if study else {},
            holder=study.holder if study else "",
            studies=[header for header in headers.values() if header],
            pictures=await self._pictures(consult.report.key_images, patient),
            earlier=await self._earlier(task),
            verify_url=f"{self._portal_url}/verify/{task.verification_code}" if self._portal_url else "",
            time_zone=self._time_zone,
        )

    async def _header(self, study: Study, patient: bool) -> Header:
        found = await self._images.header(study)
        if found is None and patient:
            raise SourceUnavailable("the region does not show the case's study to the consult service")
        return found or {}

    async def _pictures(self, images: list[KeyImage], patient: bool) -> list[Picture]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(image: KeyImage) -> Picture:
            async with gate:
                return await self._images.picture(image)

        pictures = list(await asyncio.gather(*map(one, images)))
        if patient and any(picture.jpeg is None for picture in pictures):
            raise SourceUnavailable("a key image's hospital does not give it now")
        return pictures

    async def _earlier(self, task: OutputsTask) -> list[EarlierVersion]:
        versions = [one for one in await self._book.versions(task.consult_id) if one.version <= task.version]
        return [
            EarlierVersion(version=one.version, issued_at=one.issued_at, reason_of_next=following.amendment_reason)
            for one, following in pairwise(versions)
            if one.issued_at is not None
        ]
