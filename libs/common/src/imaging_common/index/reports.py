"""The read model of the hospitals' reports: collection `reports` of the index (`_id` = `<hospital>/<report key>`).

A report is one document, as its newest version says it; every version lies in `report_versions` (`_id` =
`<hospital>/<report key>/<sha256>`), newest first by `issued_at`, then `received_at`. Only the indexer writes them.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, tzinfo
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pymongo.asynchronous.database import AsyncDatabase

from imaging_common.access import Subject, visible_studies
from imaging_common.index.model import Patient, StudyDocument
from imaging_common.index.names import fold
from imaging_common.index.read import IndexReader, MongoIndexReader
from imaging_common.objects.reports import ReportStatus

ReportKind = Literal["hl7-oru", "fhir-diagnostic-report", "dicom-sr", "dicom-pdf"]
Matched = Literal["uid", "accession", "operator", "instance", "review", "gone"]
"""What says to which study it belongs; `review`: nothing yet; `gone`: the DICOM instance left its study."""
NEWEST_FIRST = (("issued_at", -1), ("received_at", -1), ("sha256", -1))


class ReportVersion(BaseModel):
    """One version of a report. Nothing of it ever changes."""

    model_config = ConfigDict(populate_by_name=True)

    id: str = Field(alias="_id")
    report: str
    """`<hospital>/<report key>`."""
    hospital: str
    report_key: str
    report_id: str
    """The hospital's filler report id; the SOP Instance UID of a DICOM document."""
    kind: ReportKind
    sha256: str
    """Of the original bytes; of a DICOM document: of its header."""
    data_key: str = ""
    """Where the original bytes lie in bucket `archive`; empty: a DICOM instance."""
    media_type: str = ""
    status: ReportStatus
    issued_at: datetime
    received_at: datetime
    study_uid: str | None = None
    """As the report says it."""
    accession: str = ""
    accession_issuer: str = ""
    patient: Patient = Patient()
    title: str = ""
    author: str = ""
    findings: str = ""
    impression: str = ""
    attachments: list[dict[str, Any]] = []
    series_uid: str | None = None
    """Of a DICOM document."""
    sop_instance_uid: str | None = None


class ReportDocument(ReportVersion):
    """The newest version, and what the index knows of the report as a whole."""

    versions: int = 1
    matched: Matched = "review"
    study_key: str | None = None
    """`<hospital>/<study>` of the study that it belongs to."""
    match_revision: int = 0
    """Of the operator's statement that counts."""
    matched_by: str = ""
    search: str = ""
    """Folded text of all that is searched."""
    revision: int = 0
    """Counts the changes of this document."""


MAX_WORDS = 6
LIKELY_DAYS = 3
MAX_COMPARED = 200


class ReportIndex:
    """The hospitals' reports as readers see them; who may see which is for the caller to decide, save in `search`."""

    def __init__(self, reader: IndexReader) -> None:
        self._reader = reader

    @classmethod
    def on(cls, database: AsyncDatabase[dict[str, Any]]) -> "ReportIndex":
        """The reports in MongoDB database `index`."""
        return cls(MongoIndexReader(database))

    async def of_study(self, study_key: str) -> list[ReportDocument]:
        """The reports of a study, newest first."""
        found = await self._reader.find("reports", {"study_key": study_key}, order=NEWEST_FIRST, limit=200)
        return [ReportDocument.model_validate(document) for document in found]

    async def of_studies(self, study_keys: Sequence[str], *, limit: int = 1000) -> list[ReportDocument]:
        """The reports of several studies, newest first."""
        where = {"study_key": {"$in": list(study_keys)}}
        found = await self._reader.find("reports", where, order=NEWEST_FIRST, limit=limit)
        return [ReportDocument.model_validate(document) for document in found]

    async def report(self, hospital: str, report_key: str) -> ReportDocument | None:
        """One report."""
        found = await self._reader.find("reports", {"_id": f"{hospital}/{report_key}"}, limit=1)
        return ReportDocument.model_validate(found[0]) if found else None

    async def versions_of(self, report: ReportDocument) -> list[ReportVersion]:
        """All versions of a report, newest first."""
        found = await self._reader.find("report_versions", {"report": report.id}, order=NEWEST_FIRST, limit=200)
        return [ReportVersion.model_validate(document) for document in found]

    async def version(self, report: ReportDocument, sha256: str) -> ReportVersion | None:
        """One version of a report."""
        found = await self._reader.find("report_versions", {"_id": f"{report.id}/{sha256}"}, limit=1)
        return ReportVersion.model_validate(found[0]) if found else None

    async def search(self, subject: Subject, words: str, *, limit: int, offset: int = 0) -> list[ReportDocument]:
        """Reports the subject may see, in which all words occur, newest first."""
        wanted: list[Mapping[str, Any]] = [
            {"search": {"$regex": re.escape(word)}} for word in fold(words).split()[:MAX_WORDS]
        ]
        where = {"$and": [visible_reports(subject), *wanted]}
        found = await self._reader.find("reports", where, order=(("issued_at", -1),), limit=limit, skip=offset)
        return [ReportDocument.model_validate(document) for document in found]

    async def in_review(self, hospital: str | None, *, limit: int, offset: int = 0) -> list[ReportDocument]:
        """Reports that belong to no study yet, the latest received first; of all hospitals with None."""
        where: dict[str, Any] = {"matched": "review"} | ({"hospital": hospital} if hospital is not None else {})
        found = await self._reader.find("reports", where, order=(("received_at", -1),), limit=limit, skip=offset)
        return [ReportDocument.model_validate(document) for document in found]

    async def likely_studies(self, report: ReportDocument, zone: tzinfo, *, limit: int) -> list[StudyDocument]:
        """Studies of the report's hospital that it may belong to, the likeliest first: same accession number, patient
        id, name, and a study date within three days of the report."""
        ways: list[dict[str, Any]] = []
        if report.patient.id:
            ways.append({"patient.id": report.patient.id})
        if report.patient.name.search:
            ways.append({"patient.name.search": {"$in": report.patient.name.search}})
        if report.accession:
            ways.append({"accession": report.accession})
        if not ways:
            return []
        listed = {"instance_count": {"$gt": 0}, "withdrawn": {"$ne": True}, "deleted": {"$ne": True}}
        where = {"holder": report.hospital, "$or": ways, **listed}
        order = (("study_date", -1), ("study_time", -1))
        found = await self._reader.find("studies", where, order=order, limit=MAX_COMPARED)
        studies = [StudyDocument.model_validate(document) for document in found]
        day = report.issued_at.astimezone(zone).date()
        return sorted(studies, key=lambda study: _unlikeliness(report, study, day))[:limit]


def visible_reports(subject: Subject) -> dict[str, Any]:
    """The access clause over reports: a report is seen where its study is, an unmatched one by its own hospital."""

    def rewrite(part: Any) -> Any:
        if isinstance(part, Mapping):
            names = {"_id": "study_key", "holder": "hospital"}
            return {names.get(name, name): rewrite(value) for name, value in part.items()}
        return [rewrite(item) for item in part] if isinstance(part, list) else part

    return dict(rewrite(visible_studies(subject)))


def _unlikeliness(report: ReportDocument, study: StudyDocument, day: date) -> tuple[int, int]:
    """Fewer points first, then the nearer day."""
    try:
        apart = abs((datetime.strptime(study.study_date, "%Y%m%d").date() - day).days)
    except ValueError:
        apart = 10_000
    same_name = bool(set(report.patient.name.search) & set(study.patient.name.search))
    points = 4 * (report.accession != "" and report.accession == study.accession)
    points += 3 * (report.patient.id != "" and report.patient.id == study.patient.id)
    points += 2 * same_name + 2 * (apart <= LIKELY_DAYS)
    return -points, apart
