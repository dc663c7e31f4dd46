"""The attributes that QIDO-RS matches and returns (PS3.18 §10.6.1.2, §10.6.3.3): tag, keyword, VR, and where the index
keeps the value."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from imaging_common.index.read import INSTANCES, SERIES, STUDIES, Level


class Match(Enum):
    """How a query value is compared (PS3.4 C.2.2.2)."""

    TEXT = "wildcard"
    CASELESS = "wildcard, case does not matter"
    RANGE = "range of dates or times"
    UID = "list of UIDs"
    NAME = "person name"
    NUMBER = "whole number"
    NONE = "returned only"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute at one level."""

    tag: str
    keyword: str
    vr: str
    field: str
    match: Match
    level: Level
    default: bool = True
    """Returned without being asked for."""


STUDY_ATTRIBUTES = (
    Attribute("00080020", "StudyDate", "DA", "study_date", Match.RANGE, STUDIES),
    Attribute("00080030", "StudyTime", "TM", "study_time", Match.RANGE, STUDIES),
    Attribute("00080050", "AccessionNumber", "SH", "accession", Match.TEXT, STUDIES),
    Attribute("00080061", "ModalitiesInStudy", "CS", "modalities", Match.TEXT, STUDIES),
    Attribute("00080090", "ReferringPhysicianName", "PN", "referring_physician", Match.NAME, STUDIES),
    Attribute("00081030", "StudyDescription", "LO", "description", Match.CASELESS, STUDIES),
    Attribute("00100010", "PatientName", "PN", "patient.name", Match.NAME, STUDIES),
    Attribute("00100020", "PatientID", "LO", "patient.id", Match.TEXT, STUDIES),
    Attribute("00100021", "IssuerOfPatientID", "LO", "patient.issuer", Match.TEXT, STUDIES),
    Attribute("00100030", "PatientBirthDate", "DA", "patient.birth_date", Match.RANGE, STUDIES),
    Attribute("00100040", "PatientSex", "CS", "patient.sex", Match.TEXT, STUDIES),
    Attribute("0020000D", "StudyInstanceUID", "UI", "study_uid", Match.UID, STUDIES),
    Attribute("00200010", "StudyID", "SH", "study_id", Match.TEXT, STUDIES),
    Attribute("00201206", "NumberOfStudyRelatedSeries", "IS", "series_count", Match.NONE, STUDIES),
    Attribute("00201208", "NumberOfStudyRelatedInstances", "IS", "instance_count", Match.NONE, STUDIES),
)
SERIES_ATTRIBUTES = (
    Attribute("00080021", "SeriesDate", "DA", "series_date", Match.RANGE, SERIES),
    Attribute("00080031", "SeriesTime", "TM", "series_time", Match.RANGE, SERIES),
    Attribute("00080060", "Modality", "CS", "modality", Match.TEXT, SERIES),
    Attribute("0008103E", "SeriesDescription", "LO", "description", Match.CASELESS, SERIES),
    Attribute("00081010", "StationName", "SH", "station", Match.TEXT, SERIES, default=False),
    Attribute("00180015", "BodyPartExamined", "CS", "body_part", Match.TEXT, SERIES),
    Attribute("0020000E", "SeriesInstanceUID", "UI", "series_uid", Match.UID, SERIES),
    Attribute("00200011", "SeriesNumber", "IS", "series_number", Match.NUMBER, SERIES),
    Attribute("00201209", "NumberOfSeriesRelatedInstances", "IS", "instance_count", Match.NONE, SERIES),
    Attribute("00400244", "PerformedProcedureStepStartDate", "DA", "performed_date", Match.RANGE, SERIES),
    Attribute("00400245", "PerformedProcedureStepStartTime", "TM", "performed_time", Match.RANGE, SERIES),
)
INSTANCE_ATTRIBUTES = (
    Attribute("00080016", "SOPClassUID", "UI", "sop_class_uid", Match.UID, INSTANCES),
    Attribute("00080018", "SOPInstanceUID", "UI", "sop_instance_uid", Match.UID, INSTANCES),
    Attribute("00200013", "InstanceNumber", "IS", "instance_number", Match.NUMBER, INSTANCES),
    Attribute("00083002", "AvailableTransferSyntaxUID", "UI", "transfer_syntax_uid", Match.UID, INSTANCES),
)
OF_LEVEL = {STUDIES: STUDY_ATTRIBUTES, SERIES: SERIES_ATTRIBUTES, INSTANCES: INSTANCE_ATTRIBUTES}
FROM_HEADER = ("00080008", "00280008", "00280010", "00280011", "00280100", "00080005", "0040A493", "0040A043")
"""Returned at instance level where the header has them (PS3.18 Table 10.6.3-5, and what viewers need)."""
ATTRIBUTES = {a.tag: a for attributes in OF_LEVEL.values() for a in attributes}


def tag_of(name: str) -> str | None:
    """The tag, eight upper case hex digits, of a keyword or tag; None for anything else."""
    if len(name) == 8 and all(c in "0123456789abcdefABCDEF" for c in name):
        return name.upper()
    tag = tag_for_keyword(name)
    return None if tag is None else f"{tag:08X}"


def vr_of(tag: str) -> str:
    """The VR of a tag, `UN` where the dictionary has none."""
    try:
        return str(dictionary_VR(int(tag, 16))).split(" ")[0]
    except KeyError:
        return "UN"


def value_at(document: dict[str, Any], path: str) -> Any:
    """The value at a dotted path."""
    value: Any = document
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def to_json(attribute: Attribute, value: Any) -> dict[str, Any]:
    """The attribute in DICOM JSON (PS3.18 F.2.2); without a value only its VR."""
    if attribute.vr == "PN":
        groups = {
            name.capitalize(): value[name]
            for name in ("alphabetic", "ideographic", "phonetic")
            if value and value.get(name)
        }
        return {"vr": "PN", "Value": [groups]} if groups else {"vr": "PN"}
    if value is None or value in ("", []):
        return {"vr": attribute.vr}
    return {"vr": attribute.vr, "Value": value if isinstance(value, list) else [value]}
