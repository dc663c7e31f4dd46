"""What a printed report shows, and the task that makes and sends everything of one issued version."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from consult.model import Consult, KeyImage, Outputs, Report
from imaging_common.ids import Sha256, Uid

Header = dict[str, Any]
"""DICOM JSON (PS3.18 F)."""


class Letterhead(BaseModel):
    """How a hospital signs its letters."""

    name_zh: str
    name_en: str = ""
    address: str = ""
    phone: str = ""


class Picture(BaseModel):
    """A key image as it is printed."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    image: KeyImage
    sop_class_uid: str = ""
    """Empty: the index does not know the image; it is printed by its number in the report and not referenced."""
    series_number: int | None = None
    instance_number: int | None = None
    modality: str = ""
    jpeg: bytes | None = None
    """None: its hospital could not give it in time."""


class EarlierVersion(BaseModel):
    """A version that this one replaces."""

    version: int
    issued_at: datetime
    reason_of_next: str


class Page(BaseModel):
    """Everything that is printed: the same page gives the same bytes."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    consult: Consult
    report: Report
    letterhead: Letterhead
    applicant_hospital: Letterhead
    study: Header
    """The study the objects are filed in, as its holder names it and its patient; empty: nobody has it any more."""
    holder: str = ""
    """The study's: under whose name the objects are kept."""
    studies: list[Header] = []
    pictures: list[Picture] = []
    earlier: list[EarlierVersion] = []
    verify_url: str = ""
    """Where the verification code can be checked; empty: no QR code is printed."""
    time_zone: str = "Asia/Shanghai"


class Stage(StrEnum):
    """How far the outputs of a version are; each is done before the next begins."""

    GATHER = "gather"
    """Headers and pictures are to be fetched and the PDF made."""
    STORE = "store"
    """The DICOM objects are to be made and stored in the centre."""
    SEND = "send"
    """The applicant's hospital is to be told to fetch them."""
    DONE = "done"
    """Nothing to do here: the edge agent answers, or has answered."""


class ReportObject(BaseModel):
    """A DICOM object that was made of a version."""

    sop_instance_uid: Uid
    sop_class_uid: Uid
    sha256: Sha256


class OutputsTask(BaseModel):
    """What has to be made of one issued version, and how far it is."""

    id: str
    consult_id: str
    version: int
    verification_code: str
    applicant_hospital: str
    issued: Consult
    """The case as it was issued: what is printed, whatever becomes of the case meanwhile."""
    stage: Stage = Stage.GATHER
    attempts: int = 0
    """Of this stage."""
    created_at: datetime
    due_at: datetime
    """Nobody works at it before: the next attempt, or until when somebody else's lease holds."""
    failure: str = ""
    """Why the last attempt failed; empty: it did not."""
    page: Page | None = None
    """What was printed, without the pictures' bytes, so that it is never gathered twice."""
    objects: list[ReportObject] = []
    write_back_id: str = ""
    outputs: Outputs = Outputs()
