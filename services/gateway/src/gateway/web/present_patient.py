"""A person's record as the page shows it: years, studies with pictures, reports and cases; what can be filtered by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.usecases.search_studies import BODY_PARTS, part_group
from gateway.usecases.view_patient import SERIES_SHOWN, PatientRecord
from gateway.web.places import PlaceView
from gateway.web.present import StudyView, date_text, documents_of, names, row_view
from gateway.web.present_reports import report_row
from imaging_common.index.model import SeriesDocument, StudyDocument


@dataclass(frozen=True, slots=True)
class SeriesView:
    """One picture of a study."""

    picture: str
    """Where its thumbnail is; empty: its bytes lie at the hospital, and a page does not fetch them."""
    modality: str
    description: str
    images: int


@dataclass(frozen=True, slots=True)
class EntryView:
    """One study of the timeline."""

    study: StudyView
    series: tuple[SeriesView, ...]
    more_series: int
    reports: tuple[dict[str, Any], ...]
    cases: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class PersonView:
    """Whose record it is; `known` says as whom each hospital knows them."""

    name: str
    latin: str
    sex: str
    birth_date: str
    resident_id: str
    merged: tuple[str, ...]
    known: tuple[tuple[str, str], ...]
    """(hospital, patient id)."""


def person_view(record: PatientRecord) -> PersonView | None:
    """From the newest study; None when there is nothing to be seen."""
    documents = record.documents
    if not documents:
        return None
    patient = documents[0].patient
    name, latin = names(patient.name)
    known = {(d.patient_key.partition("^")[0] or d.holder, d.patient.id): None for d in documents if d.patient.id}
    sex = patient.sex if patient.sex in ("M", "F", "O") else ""
    return PersonView(name, latin, sex, date_text(patient.birth_date), record.resident_id, record.merged, tuple(known))


def filters_of(record: PatientRecord) -> tuple[list[str], list[str]]:
    """The modalities and body parts of the record, each once."""
    documents = record.documents
    modalities = sorted({modality for document in documents for modality in document.modalities})
    parts = {part_group(part) for document in documents for part in document.body_parts}
    return modalities, [part for part in BODY_PARTS if part in parts]


def years_of(
    record: PatientRecord,
    places: Mapping[str, PlaceView],
    cases: Sequence[Mapping[str, Any]],
    *,
    modality: str = "",
    part: str = "",
) -> list[tuple[str, list[EntryView]]]:
    """The timeline, newest first, as far as the filters let it through."""
    years: dict[str, list[EntryView]] = {}
    for row in record.rows:
        documents = documents_of(row)
        first = documents[0]
        if modality and all(modality not in d.modalities for d in documents):
            continue
        if part and part not in {part_group(each) for d in documents for each in d.body_parts}:
            continue
        entry = EntryView(
            study=row_view(row, places),
            series=tuple(_pictures(record, first)),
            more_series=max(0, len(record.series.get(first.id, ())) - SERIES_SHOWN),
            reports=tuple(report_row(report) for d in documents for report in record.reports.get(d.id, ())),
            cases=tuple(c for c in cases if any(s["study_uid"] == first.study_uid for s in c["studies"])),
        )
        years.setdefault(first.study_date[:4], []).append(entry)
    return sorted(years.items(), reverse=True)


def _pictures(record: PatientRecord, study: StudyDocument) -> list[SeriesView]:
    base = f"/dicomweb/hospitals/{study.holder}/studies/{study.study_uid}/series"
    series = record.series.get(study.id, ())[:SERIES_SHOWN]
    return [
        SeriesView(
            f"{base}/{one.series_uid}/thumbnail?viewport=160,160" if _is_here(study, one) else "",
            one.modality,
            one.description,
            one.instance_count,
        )
        for one in series
    ]


def _is_here(study: StudyDocument, series: SeriesDocument) -> bool:
    """Whether its pixels lie in the centre, so that a page may show them."""
    return study.tier == "central" or series.online_count > 0
