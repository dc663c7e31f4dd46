"""The hospitals' reports for people: who may see which, their originals, and where an unmatched one belongs."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from gateway.dicomweb.files import read_file
from gateway.ports import ReportStatements
from gateway.retrievals.retriever import Retriever
from imaging_common.access import Subject
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims
from imaging_common.index.model import InstanceDocument, StudyDocument
from imaging_common.index.read import STUDIES, StudyIndex
from imaging_common.index.reports import ReportDocument, ReportIndex, ReportVersion
from imaging_common.objects.model import ARCHIVE_BUCKET
from imaging_common.objects.ports import ObjectDamaged
from imaging_common.objects.store import ObjectStore
from imaging_common.reports import UnreadableMessage
from imaging_common.reports.original import read_original

REVIEW_ROLES = frozenset({"doctor", "hospital-operator", "region-operator"})
LIKELY = 12


@dataclass(frozen=True, slots=True)
class WholeReport:
    """A report with all its versions, newest first."""

    report: ReportDocument
    versions: list[ReportVersion]


def may_review(claims: Claims, hospital: str) -> bool:
    """The region's operator all unmatched reports, a hospital's operators and doctors those of their own."""
    if "region-operator" in claims.roles:
        return True
    return bool(claims.roles & REVIEW_ROLES) and claims.hospital != "" and claims.hospital == hospital


def is_listed(study: Mapping[str, Any] | None) -> bool:
    """Whether a study is there to be seen: neither deleted nor withdrawn."""
    return study is not None and not study.get("deleted") and not study.get("withdrawn")


def may_handle(claims: Claims, report: ReportDocument) -> bool:
    """Whether somebody may read it to say where it belongs: it is unmatched, or matched by such a word."""
    return may_review(claims, report.hospital) and report.matched in ("review", "operator")


class ReportDesk:
    """Everything the report pages ask for. The caller opens the study's door first."""

    def __init__(
        self,
        reports: ReportIndex,
        index: StudyIndex,
        store: ObjectStore,
        statements: ReportStatements,
        audit: AuditTrail,
        retriever: Retriever,
        zone: tzinfo,
    ) -> None:
        self.reports = reports
        self._index = index
        self._store = store
        self._statements = statements
        self._audit = audit
        self._retriever = retriever
        self._zone = zone

    async def of_study(self, study_key: str) -> list[WholeReport]:
        """The reports of a study that was opened."""
        found = await self.reports.of_study(study_key)
        return [WholeReport(report, await self.reports.versions_of(report)) for report in found]

    async def search(self, subject: Subject, words: str, *, limit: int, offset: int) -> list[ReportDocument]:
        """Reports the subject may see, recorded before they are shown."""
        found = await self.reports.search(subject, words, limit=limit, offset=offset)
        studies = await self._index.documents(STUDIES, {report.study_key for report in found if report.study_key})
        found = [r for r in found if r.study_key is None or is_listed(studies.get(r.study_key))]
        await self._audit.record(
            action="search",
            outcome="success",
            reason="reports",
            **who(subject),
            count=len(found),
        )
        return found

    async def reviewed(self, claims: Claims, *, limit: int, offset: int) -> list[ReportDocument]:
        """The review list of this person."""
        everywhere = "region-operator" in claims.roles
        found = await self.reports.in_review(None if everywhere else claims.hospital, limit=limit, offset=offset)
        await self._audit.record(
            action="search",
            outcome="success",
            reason="reports-in-review",
            **who(claims),
            count=len(found),
        )
        return found

    async def looked(self, claims: Claims, report: ReportDocument) -> None:
        """Record a look at a report that is no look at its study."""
        await self._audit.record(
            action="view",
            outcome="success",
            reason="report-in-review",
            **who(claims),
            holder=report.hospital,
        )

    async def likely_studies(self, report: ReportDocument) -> list[StudyDocument]:
        """Where an unmatched report may belong."""
        return await self.reports.likely_studies(report, self._zone, limit=LIKELY)

    async def match(self, claims: Claims, report: ReportDocument, study_uid: str | None) -> bool:
        """Say to which study of its hospital a report belongs (None: to none); False: somebody said so meanwhile, or
        there is no such study."""
        if study_uid is not None:
            holders = await self._index.holders_of(study_uid)
            if all(study.holder != report.hospital for study in holders):
                return False
        if report.sop_instance_uid is not None:
            return False
        after = report.match_revision
        done = await self._statements.state(report.hospital, report.report_key, study_uid, claims.user, after)
        if done:
            await self._audit.record(
                action="link" if study_uid else "unlink",
                outcome="success",
                reason="report",
                **who(claims),
                study_uid=study_uid or _study_of(report),
                holder=report.hospital,
            )
        return done

    async def original(self, version: ReportVersion) -> bytes:
        """The bytes as they came.

        Raises
        ------
        ObjectNotFound, ObjectDamaged
            They are gone, or are not those that came.
        """
        data = await self._store.get(ARCHIVE_BUCKET, version.data_key)
        if await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest()) != version.sha256:
            raise ObjectDamaged(ARCHIVE_BUCKET, version.data_key)
        return data

    async def document(self, version: ReportVersion, number: int) -> bytes | None:
        """The PDF with that number in a version; None without one. One in a PACS is brought first.

        Raises
        ------
        HolderAway
            It lies in a PACS that cannot be asked.
        """
        if version.kind == "dicom-pdf":
            return await self._encapsulated(version) if number == 0 else None
        if version.kind == "dicom-sr":
            return None
        data = await self.original(version)
        try:
            reports = await asyncio.to_thread(read_original, version.kind, data)
        except UnreadableMessage:
            return None
        found = [a for r in reports if r.report_id == version.report_id for a in r.attachments]
        return found[number].data if number < len(found) else None

    async def _encapsulated(self, version: ReportVersion) -> bytes | None:
        study_key = f"{version.hospital}/{version.study_uid}"
        listed = await self._index.instance(study_key, version.sop_instance_uid or "")
        if listed is None:
            return None
        here = listed if isinstance(listed, InstanceDocument) else await self._retriever.bring(listed)
        return await asyncio.to_thread(pdf_of, await read_file(self._store, here))


def _study_of(report: ReportDocument) -> str | None:
    return report.study_key.split("/")[1] if report.study_key else None


def pdf_of(file: bytes) -> bytes | None:
    """The value of Encapsulated Document (0042,0011) of a Part 10 file, if it is a PDF. Blocking."""
    try:
        value = dcmread(BytesIO(file), specific_tags=["EncapsulatedDocument"]).get("EncapsulatedDocument")
    except (InvalidDicomError, ValueError, EOFError):
        return None
    return bytes(value) if isinstance(value, bytes) and value.startswith(b"%PDF-") else None
