"""Index documents and consults as the pages show them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imaging_common.index.model import PersonName, StudyDocument
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

    @property
    def ref(self) -> str:
        """How forms name it: `<holder>/<study>`."""
        return f"{self.holder}/{self.study_uid}"


def study_view(document: StudyDocument, holders: tuple[str, ...] = ()) -> StudyView:
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
    )


def row_view(row: Row) -> StudyView:
    """A row of a search."""
    documents = [StudyDocument.model_validate(document) for document in row.documents]
    return study_view(documents[0], tuple(document.holder for document in documents))


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


EDITABLE = frozenset({"accepted", "assigned", "reading", "drafted"})


@dataclass(frozen=True, slots=True)
class CaseView:
    """A consult, and what this person may do with it now."""

    consult: Mapping[str, Any]
    is_applicant: bool
    is_consultant: bool
    """An expert of the hospital that was asked."""
    is_reader: bool
    """The expert who took the case."""

    @classmethod
    def of(cls, consult: Mapping[str, Any], user: str, hospital: str, roles: frozenset[str]) -> "CaseView":
        """As `user` sees it."""
        return cls(
            consult,
            is_applicant=consult["applicant"] == user,
            is_consultant=consult["consultant_hospital"] == hospital and "expert" in roles,
            is_reader=consult.get("expert") == user,
        )

    @property
    def state(self) -> str:
        """The consult's state."""
        return str(self.consult["state"])

    @property
    def ended(self) -> bool:
        """Whether the access the case gave has ended."""
        return self.state in ("acknowledged", "rejected", "withdrawn")

    @property
    def may_decide(self) -> bool:
        """Accept or reject."""
        return self.is_consultant and self.state == "submitted"

    @property
    def may_report(self) -> bool:
        """Write and issue the report."""
        return self.is_consultant and self.is_reader and self.state in EDITABLE

    @property
    def may_withdraw(self) -> bool:
        """Take the application back."""
        return self.is_applicant and (self.state == "submitted" or self.state in EDITABLE)

    @property
    def may_acknowledge(self) -> bool:
        """End the case."""
        return self.is_applicant and self.state == "issued"
