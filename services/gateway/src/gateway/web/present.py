"""Index documents as the pages show them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.usecases.review_patients import Match
from gateway.web.places import PlaceView
from imaging_common.index.model import PersonName, StudyDocument
from imaging_common.index.patients import KnownPatient
from imaging_common.index.read import Row


@dataclass(frozen=True, slots=True)
class StudyView:
    """One study of the list, merged over its holders."""

    study_uid: str
    holder: str
    holders: tuple[str, ...]
    name: str
    latin: str
    patient_id: str
    sex: str
    age: str
    date: str
    time: str
    modalities: str
    description: str
    body_parts: str
    series_count: int
    image_count: int
    accession: str
    state: str
    """`arriving`, `complete` or `archived`."""
    rejected: int
    conflicts: int
    places: tuple[PlaceView, ...] = ()
    """Where it lies, one for each holder; empty where nobody asked."""
    reports: tuple[tuple[str, int], ...] = ()
    """(holder, how many reports of the hospital), where there are any."""
    resident_id: str = ""
    patient_key: str = ""
    """`<hospital>^<patient id>`, where there is an id."""

    @property
    def ref(self) -> str:
        """How forms name it: `<holder>/<study>`."""
        return f"{self.holder}/{self.study_uid}"


def study_view(
    document: StudyDocument, holders: tuple[str, ...] = (), places: Mapping[str, PlaceView] | None = None
) -> StudyView:
    """What the list shows of a study."""
    patient = document.patient
    name, latin = names(patient.name)
    return StudyView(
        study_uid=document.study_uid,
        holder=document.holder,
        holders=holders or (document.holder,),
        name=name,
        latin=latin,
        patient_id=patient.id,
        sex=patient.sex if patient.sex in ("M", "F", "O") else "",
        age=age_at(patient.birth_date, document.study_date),
        date=date_text(document.study_date),
        time=time_text(document.study_time),
        modalities=" ".join(document.modalities),
        description=document.description,
        body_parts=", ".join(document.body_parts),
        series_count=document.series_count,
        image_count=document.instance_count,
        accession=document.accession,
        state="archived" if document.stored else "complete" if document.settled else "arriving",
        rejected=len(document.rejected),
        conflicts=document.conflicts,
        places=tuple((places or {})[f"{holder}/{document.study_uid}"] for holder in holders) if places else (),
        reports=((document.holder, document.report_count),) if document.report_count else (),
        resident_id=document.resident_id or "",
        patient_key=document.patient_key,
    )


def documents_of(row: Row) -> list[StudyDocument]:
    """A row's documents, one for each holder."""
    return [StudyDocument.model_validate(document) for document in row.documents]


def row_view(row: Row, places: Mapping[str, PlaceView]) -> StudyView:
    """A row of a search."""
    documents = documents_of(row)
    view = study_view(documents[0], tuple(document.holder for document in documents), places)
    return replace(view, reports=tuple((d.holder, d.report_count) for d in documents if d.report_count))


def names(name: PersonName) -> tuple[str, str]:
    """The name as written, and its Latin form beside it where there are both (PS3.5 §6.2.1)."""
    latin = " ".join(name.alphabetic.replace("^", " ").split())
    written = name.ideographic.replace("^", "").strip()
    if not latin.isascii() and not written:
        written, latin = name.alphabetic.replace("^", "").strip(), ""
    return (written, latin) if written else (latin, "")


def age_at(birth_date: str, study_date: str) -> str:
    """Whole years on the day of the study, or empty (DA values, PS3.5 §6.2)."""
    if not (len(birth_date) == len(study_date) == 8 and (birth_date + study_date).isdigit()):
        return ""
    years = int(study_date[:4]) - int(birth_date[:4]) - (study_date[4:] < birth_date[4:])
    return str(years) if 0 <= years < 150 else ""


def date_text(value: str) -> str:
    """A DA value with dashes."""
    return f"{value[:4]}-{value[4:6]}-{value[6:8]}" if len(value) == 8 and value.isdigit() else value


def time_text(value: str) -> str:
    """A TM value as hours and minutes."""
    return f"{value[:2]}:{value[2:4]}" if len(value) >= 4 and value[:4].isdigit() else ""


@dataclass(frozen=True, slots=True)
class PatientView:
    """A patient as one hospital knows them, or whom somebody may be, with the reasons."""

    hospital: str
    patient_id: str
    name: str
    latin: str
    birth_date: str
    sex: str
    resident_id: str
    linked_by: str
    newest: str
    modalities: str
    studies: int
    also: tuple[tuple[str, str], ...] = ()
    """(hospital, patient id) of others linked to the same resident."""
    reasons: tuple[str, ...] = ()
    score: int = 0


def patient_view(patient: KnownPatient | Match) -> PatientView:
    """What the review list shows of a patient, or of a likely match."""
    match = patient if isinstance(patient, Match) else None
    study = patient.studies[0] if isinstance(patient, Match) else patient.study
    name, latin = names(study.patient.name)
    others = [each.patient_key.partition("^") for each in match.studies[1:]] if match else []
    return PatientView(
        hospital=study.patient_key.partition("^")[0],
        patient_id=study.patient.id,
        name=name,
        latin=latin,
        birth_date=date_text(study.patient.birth_date),
        sex=study.patient.sex if study.patient.sex in ("M", "F", "O") else "",
        resident_id=(match.resident_id if match else study.resident_id) or "",
        linked_by=study.linked_by,
        newest=date_text(study.study_date),
        modalities=" ".join(study.modalities),
        studies=0 if isinstance(patient, Match) else patient.studies,
        also=tuple((hospital, patient_id) for hospital, _, patient_id in others),
        reasons=match.likeness.reasons if match else (),
        score=min(match.likeness.score, 100) if match else 0,
    )
