"""FHIR resources as the EHR's pages show them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class StudyRow:
    """An examination."""

    uid: str
    date: str
    modality: str
    description: str
    place: str
    images: int
    series: int


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A report."""

    id: str
    study_uid: str
    title: str
    status: str
    issued: str
    hospital: str
    author: str
    conclusion: str
    documents: tuple[str, ...]
    """Ids of `Binary`."""


def study_row(resource: Mapping[str, Any], zone: ZoneInfo) -> StudyRow:
    """From `ImagingStudy`."""
    return StudyRow(
        uid=resource["id"],
        date=_moment(resource.get("started", ""), zone),
        modality=" ".join(coding["code"] for coding in resource.get("modality", [])),
        description=resource.get("description", ""),
        place=resource.get("location", {}).get("display", ""),
        images=resource.get("numberOfInstances", 0),
        series=resource.get("numberOfSeries", 0),
    )


def report_row(resource: Mapping[str, Any], zone: ZoneInfo) -> ReportRow:
    """From `DiagnosticReport`."""
    study = (resource.get("imagingStudy") or [{"reference": ""}])[0]["reference"]
    return ReportRow(
        id=resource["id"],
        study_uid=study.rpartition("/")[2],
        title=resource.get("code", {}).get("text", ""),
        status=resource["status"],
        issued=_moment(resource.get("issued", ""), zone),
        hospital=(resource.get("performer") or [{}])[0].get("display", ""),
        author=(resource.get("resultsInterpreter") or [{}])[0].get("display", ""),
        conclusion=resource.get("conclusion", ""),
        documents=tuple(form["url"].rpartition("/")[2] for form in resource.get("presentedForm", []) if "url" in form),
    )


def _moment(text: str, zone: ZoneInfo) -> str:
    if "T" not in text:
        return text
    return f"{datetime.fromisoformat(text.replace('Z', '+00:00')).astimezone(zone):%Y-%m-%d %H:%M}"
