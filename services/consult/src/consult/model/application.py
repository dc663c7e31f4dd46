"""What an applicant writes, and what of it each urgency needs before it can be submitted."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from imaging_common.ids import HospitalId, Uid

Urgency = Literal["routine", "urgent", "emergency"]
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=8000)]


class Study(BaseModel):
    """A study of the case, at one holder."""

    model_config = ConfigDict(frozen=True)

    study_uid: Uid
    holder: HospitalId


class KeyImage(BaseModel):
    """One image somebody points at; the viewer opens there."""

    model_config = ConfigDict(frozen=True)

    study_uid: Uid
    holder: HospitalId
    series_uid: Uid
    instance_uid: Uid
    frame: int = Field(default=1, ge=1)
    """Number of the frame, from 1 (PS3.3 C.7.6.6)."""
    note: Line = ""


class TargetKind(StrEnum):
    """To whom an application goes."""

    HOSPITAL = "hospital"
    DEPARTMENT = "department"
    EXPERT = "expert"
    AUTO = "auto"
    """To the right one: the routing table decides when it is submitted."""


class Diagnosis(BaseModel):
    """A clinical diagnosis, coded where the applicant found the code (ICD-10)."""

    code: Line = ""
    text: Line


class ConsentKind(StrEnum):
    """How the resident agreed that their images are shown to another hospital."""

    NONE = ""
    WRITTEN = "written"
    """Signed on paper; the scan is an attachment of the kind `consent`."""
    VERBAL = "verbal"
    EMERGENCY = "emergency-exception"
    """Could not be asked: danger to life."""


class Patient(BaseModel):
    """Whom it is about, as the applicant's hospital knows them. Personal data: stays in this service."""

    patient_id: Line = ""
    issuer: Line = ""
    resident_id: Line = ""
    name: Line = ""
    sex: Literal["", "M", "F", "O"] = ""
    birth_date: Line = ""
    """YYYYMMDD."""


class Application(BaseModel):
    """What the applicant writes; a draft may lack anything. Times in UTC."""

    target_kind: TargetKind = TargetKind.HOSPITAL
    consultant_hospital: HospitalId | Literal[""] = ""
    department: Line = ""
    nominee: Line = ""
    """User id of a named expert."""
    subspecialty: Line = ""
    """For `auto`: what it is about, e.g. neuro, chest; empty: from modality and body part."""
    studies: list[Study] = Field(default=[], max_length=50)
    key_images: list[KeyImage] = Field(default=[], max_length=200)
    applicant_department: Line = ""
    applicant_phone: Line = ""
    patient: Patient = Patient()
    chief_complaint: Text = ""
    history: Text = ""
    diagnoses: list[Diagnosis] = Field(default=[], max_length=20)
    examination_items: list[Line] = Field(default=[], max_length=50)
    purpose: Text = ""
    questions: list[Line] = Field(default=[], max_length=20)
    urgency: Urgency = "routine"
    desired_at: datetime | None = None
    consent: ConsentKind = ConsentKind.NONE
    workstation: bool = False
    """Both hospitals' DICOM workstations may have the images while the case is open."""

    @field_validator("studies")
    @classmethod
    def _each_once(cls, studies: list[Study]) -> list[Study]:
        return list(dict.fromkeys(studies))


ALWAYS = ("studies", "purpose")
REQUIRED: dict[str, tuple[str, ...]] = {
    "emergency": (*ALWAYS, "applicant_phone"),
    "urgent": (*ALWAYS, "applicant_phone", "chief_complaint", "consent"),
    "routine": (*ALWAYS, "chief_complaint", "history", "diagnoses", "consent"),
}
"""Names of fields that must be filled before submitting: the less time, the fewer; an emergency needs a phone."""
TARGET_NEEDS: dict[TargetKind, tuple[str, ...]] = {
    TargetKind.HOSPITAL: ("consultant_hospital",),
    TargetKind.DEPARTMENT: ("consultant_hospital", "department"),
    TargetKind.EXPERT: ("consultant_hospital", "nominee"),
    TargetKind.AUTO: (),
}


def missing(application: Application) -> list[str]:
    """Names of the fields that still have to be filled before this can be submitted, in the order of the form."""
    needed = {*REQUIRED[application.urgency], *TARGET_NEEDS[application.target_kind]}
    return [name for name in Application.model_fields if name in needed and not getattr(application, name)]
