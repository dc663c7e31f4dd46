"""Reports as the pages show them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.usecases.read_reports import WholeReport
from gateway.web.present import date_text, names
from imaging_common.index.reports import ReportDocument, ReportVersion

EXCERPT = 160


@dataclass(frozen=True, slots=True)
class VersionView:
    """One version of a report."""

    number: int
    status: str
    issued_at: datetime
    author: str
    findings: str
    impression: str
    documents: list[dict[str, Any]]
    """PDFs: `url` and `title`."""
    original: str
    """Where the bytes are, or empty."""


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report with all its versions, newest first."""

    id: str
    title: str
    kind: str
    report_id: str
    matched: str
    versions: list[VersionView]

    @property
    def newest(self) -> VersionView:
        """The version that counts."""
        return self.versions[0]


def report_view(whole: WholeReport) -> ReportView:
    """A report beside its images."""
    report, count = whole.report, len(whole.versions)
    shown = [version_view(version, count - place) for place, version in enumerate(whole.versions)]
    return ReportView(report.id, report.title, report.kind, report.report_id, report.matched, shown)


def version_view(version: ReportVersion, number: int) -> VersionView:
    """One version; `number` counts from the oldest."""
    base = f"/portal/reports/{version.hospital}/{version.report_key}/{version.sha256}"
    attachments = [{"title": ""}] if version.kind == "dicom-pdf" else version.attachments
    return VersionView(
        number=number,
        status=version.status,
        issued_at=version.issued_at,
        author=version.author,
        findings=version.findings,
        impression=version.impression,
        documents=[
            {"url": f"{base}/document/{place}", "title": attachment.get("title", "")}
            for place, attachment in enumerate(attachments)
        ],
        original=f"{base}/original" if version.data_key else "",
    )


def report_row(report: ReportDocument) -> dict[str, Any]:
    """A report in a list."""
    name, latin = names(report.patient.name)
    text = " ".join((report.impression or report.findings).split())
    study_uid = report.study_key.split("/")[1] if report.study_key else ""
    return {
        "id": report.id,
        "hospital": report.hospital,
        "name": name,
        "latin": latin,
        "patient_id": report.patient.id,
        "birth_date": date_text(report.patient.birth_date),
        "sex": report.patient.sex if report.patient.sex in ("M", "F", "O") else "",
        "title": report.title,
        "report_id": report.report_id if report.sop_instance_uid is None else "",
        "accession": report.accession,
        "status": report.status,
        "issued_at": report.issued_at,
        "excerpt": text[:EXCERPT] + ("…" if len(text) > EXCERPT else ""),
        "findings": report.findings,
        "impression": report.impression,
        "versions": report.versions,
        "study": f"/portal/studies/{report.hospital}/{study_uid}/reports" if study_uid else "",
        "revision": report.match_revision,
        "matched": report.matched,
    }
