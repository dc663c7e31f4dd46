"""Query/Retrieve identifiers (PS3.4 C.2.2, C.4.1): what a C-FIND asks, as QIDO-RS asks it; how a row answers. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from edge_agent.errors import IdentifierRefused
from edge_agent.services.charsets import declare
from imaging_common.ids import is_uid

LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")
UNIQUE_KEYS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
MATCHED = {
    "STUDY": (
        *("StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName"),
        *("StudyDescription", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID"),
        "Modality",
    ),
    "SERIES": (
        *("SeriesDate", "SeriesTime", "Modality", "SeriesDescription", "StationName", "BodyPartExamined"),
        *("SeriesInstanceUID", "SeriesNumber", "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
    ),
    "IMAGE": ("SOPClassUID", "SOPInstanceUID", "InstanceNumber"),
}
"""What the gateway can match; any other key is a key without matching (PS3.4 C.2.2.1.3: universal)."""
PATIENT_MATCHED = ("PatientName", "PatientBirthDate", "PatientSex")
MADE_HERE = frozenset(
    {"QueryRetrieveLevel", "RetrieveAETitle", "InstanceAvailability", "SpecificCharacterSet", "PatientID"}
    | {"IssuerOfPatientID", "OtherPatientIDsSequence", "NumberOfPatientRelatedStudies", "TimezoneOffsetFromUTC"}
    | {"NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances", "StudyInstanceUID", "RetrieveURL"}
)
GIVEN = {
    "STUDY": frozenset({*MATCHED["STUDY"], "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"}),
    "SERIES": frozenset({*MATCHED["SERIES"], *MATCHED["STUDY"], "NumberOfSeriesRelatedInstances"}) - {"StationName"},
    "IMAGE": frozenset(
        {*MATCHED["IMAGE"], *MATCHED["SERIES"], *MATCHED["STUDY"], "AvailableTransferSyntaxUID", "Rows", "Columns"}
        | {"BitsAllocated", "NumberOfFrames", "ImageType"}
    ),
}
GIVEN["PATIENT"] = GIVEN["STUDY"]
"""What the gateway returns without being asked; the rest it reads from headers, which takes longer."""
MAX_INCLUDED = 64


@dataclass(slots=True)
class Question:
    """A C-FIND, C-MOVE or C-GET identifier, read."""

    level: str
    charset: str
    tags: list[BaseTag]
    """What is asked for."""
    patient_id: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    """Keyword → value to match, at the level and above."""
    uids: dict[str, list[str]] = field(default_factory=dict)
    """Unique keys by level."""

    def parameters(self, level: str) -> list[tuple[str, str]]:
        """The QIDO-RS parameters of the search at one level (PS3.18 §8.3.4): keys to match, and fields to include."""
        names = PATIENT_MATCHED if level == "PATIENT" else MATCHED[level]
        found = [(name, self.keys[name]) for name in names if name in self.keys]
        if level == self.level:
            included = [tag for tag in self.tags if _may_include(tag) and keyword_for_tag(tag) not in GIVEN[level]]
            found += [("includefield", f"{tag:08X}") for tag in included[:MAX_INCLUDED]]
        return found


def read_identifier(identifier: Dataset, *, patient_root: bool, retrieve: bool = False) -> Question:
    """Read and check an identifier.

    Raises
    ------
    IdentifierRefused
        0xA900: no or another level, a unique key is missing (PS3.4 C.4.1.1.3.1), or a UID is none.
    """
    charset = declare(identifier)
    level = str(identifier.get("QueryRetrieveLevel", "")).strip().upper()
    if level not in LEVELS or (level == "PATIENT" and not patient_root):
        raise IdentifierRefused("Query/Retrieve Level (0008,0052) is missing or not of this model")
    tags = [element.tag for element in identifier if element.tag.group not in (0, 2) and element.VR != "UL"]
    question = Question(level, charset, tags, patient_id=_value(identifier, "PatientID"))
    for name in {name for names in MATCHED.values() for name in names}:
        value = _value(identifier, name)
        if value and value.strip("*"):
            question.keys[name] = value
    for above in LEVELS[1 : LEVELS.index(level) + 1]:
        name = UNIQUE_KEYS[above]
        uids = [uid for uid in re.split(r"[\\,]", question.keys.pop(name, "")) if uid]
        if not all(is_uid(uid) for uid in uids):
            raise IdentifierRefused(f"{name} is not a UID or a list of UIDs")
        if not uids and (above != level or retrieve):
            raise IdentifierRefused(f"{name} is missing")
        question.uids[above] = uids
    if level == "PATIENT" and retrieve and not question.patient_id.strip("*?"):
        raise IdentifierRefused("PatientID is missing")
    return question


def answer(question: Question, rows: Iterable[dict[str, Any]], *, ae_title: str) -> Dataset:
    """The data set of one match; the first of `rows` that has an attribute gives it."""
    rows = list(rows)
    dataset = Dataset()
    dataset.SpecificCharacterSet = question.charset
    for tag in question.tags:
        if keyword_for_tag(tag) in ("SpecificCharacterSet", "QueryRetrieveLevel", "RetrieveURL"):
            continue
        found = next((row[f"{tag:08X}"] for row in rows if f"{tag:08X}" in row), None)
        _add(dataset, tag, found)
    if question.level != "PATIENT":
        availability = next((row["00080056"] for row in rows if "00080056" in row), None)
        _add(dataset, Tag("InstanceAvailability"), availability or {"vr": "CS", "Value": ["ONLINE"]})
    dataset.RetrieveAETitle = ae_title
    dataset.QueryRetrieveLevel = question.level
    return dataset


def matches_wildcard(pattern: str, text: str) -> bool:
    """Wild card matching (PS3.4 C.2.2.2.4)."""
    expression = "".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in pattern)
    return re.fullmatch(expression, text) is not None


def _add(dataset: Dataset, tag: BaseTag, element: dict[str, Any] | None) -> None:
    """Add an attribute from DICOM JSON (PS3.18 F.2); one without a value, or that cannot be read, is empty."""
    vr = (element or {}).get("vr") or (dictionary_VR(tag) if dictionary_has_tag(tag) else "UN")
    if element and element.get("Value"):
        try:
            dataset.update(Dataset.from_json({f"{tag:08X}": {"vr": vr, "Value": element["Value"]}}))
            return
        except (ValueError, TypeError, KeyError, AttributeError):
            dataset.pop(tag, None)
    dataset.add_new(tag, vr.split(" ")[0], [] if vr == "SQ" else None)


def _may_include(tag: BaseTag) -> bool:
    return (
        not tag.is_private
        and dictionary_has_tag(tag)
        and tag.group not in (0x0000, 0x0002, 0x7FE0)
        and keyword_for_tag(tag) not in MADE_HERE
    )


def _value(identifier: Dataset, keyword: str) -> str:
    """A key's value as QIDO-RS writes it; several values are a list of UIDs."""
    value = identifier.get(keyword)
    if value is None:
        return ""
    if not isinstance(value, MultiValue):
        return str(value).strip()
    return "\\".join(str(one).strip() for one in value)
