"""One person across hospitals: every study of theirs that somebody may see, with reports and cases, by year."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imaging_common.access import Subject
from imaging_common.audit import AuditTrail, who
from imaging_common.index.model import SeriesDocument, StudyDocument
from imaging_common.index.read import Row, StudyIndex
from imaging_common.index.reports import ReportDocument, ReportIndex

MAX_STUDIES = 200
MAX_REPORTED = 40
"""Studies whose reports are shown on the page; those of others are one click away."""
SERIES_SHOWN = 6


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """What the page is made of."""

    resident_id: str = ""
    """The id that counts, after merges; empty: the patient is nobody's yet."""
    merged: tuple[str, ...] = ()
    """Ids that redirect to it."""
    rows: list[Row] = field(default_factory=list)
    more: bool = False
    series: Mapping[str, list[SeriesDocument]] = field(default_factory=dict)
    """By `<holder>/<study>`, in display order."""
    reports: Mapping[str, list[ReportDocument]] = field(default_factory=dict)

    @property
    def documents(self) -> list[StudyDocument]:
        """Every study at every holder."""
        return [StudyDocument.model_validate(document) for row in self.rows for document in row.documents]


class ViewPatient:
    """Reads a record; recorded before it is shown."""

    def __init__(self, index: StudyIndex, reports: ReportIndex, audit: AuditTrail) -> None:
        self._index = index
        self._reports = reports
        self._audit = audit

    async def of_resident(self, subject: Subject, resident_id: str) -> PatientRecord:
        """Every study linked to the resident, merged ids included."""
        person = await self._index.resident(resident_id)
        where = {"resident_id": {"$in": list(person.ids)}}
        merged = tuple(one for one in person.ids if one != person.id)
        return await self._read(subject, where, person.id, merged)

    async def of_patient(self, subject: Subject, patient_key: str) -> PatientRecord:
        """Every study of a hospital's patient; of the resident, when the patient is linked to one."""
        record = await self._read(subject, {"patient_key": patient_key}, "", ())
        linked = {document.resident_id for document in record.documents if document.resident_id}
        return await self.of_resident(subject, linked.pop()) if len(linked) == 1 else record

    async def _read(
        self, subject: Subject, where: dict[str, Any], resident_id: str, merged: tuple[str, ...]
    ) -> PatientRecord:
        page = await self._index.search_studies(subject, where, limit=MAX_STUDIES, lookahead=1)
        await self._audit.record(
            action="search",
            outcome="success",
            reason="patient",
            **who(subject),
            resident_id=resident_id or None,
            count=len(page.rows),
        )
        shown = PatientRecord(resident_id, merged, page.rows, page.more or page.remaining > 0)
        documents = shown.documents
        series = await self._series([document.id for document in documents])
        reported = [document.id for document in documents if document.report_count][:MAX_REPORTED]
        found = await asyncio.gather(*(self._reports.of_study(key) for key in reported))
        return PatientRecord(
            resident_id, merged, page.rows, shown.more, series, dict(zip(reported, found, strict=True))
        )

    async def _series(self, study_keys: Sequence[str]) -> dict[str, list[SeriesDocument]]:
        by_study: dict[str, list[SeriesDocument]] = {}
        for one in await self._index.series_of(study_keys) if study_keys else []:
            by_study.setdefault(one.study_key, []).append(one)
        return by_study
