"""Rejection notes in a study (IHE RAD IOCM, PS3.3 C.17.6, PS3.16 CID 7011): which instances they take out of use."""

from collections.abc import Iterable, Iterator
from typing import Any

from edge_agent.pacs_model import SOP_UID, DicomJson, first_value, text

REJECTIONS = frozenset({"113001", "113037", "113038", "113039"})
"""Rejected for Quality Reasons, for Patient Safety Reasons, Incorrect Modality Worklist Entry, Data Retention Policy
Expired (PS3.16 CID 7011)."""
_MODALITY, _TITLE, _CODE, _SCHEME = "00080060", "0040A043", "00080100", "00080102"
_EVIDENCE, _SERIES, _INSTANCES, _REFERENCED = "0040A375", "00081115", "00081199", "00081155"


def is_rejection_note(header: DicomJson) -> bool:
    """Whether a whole header is a Key Object Selection with a rejection title."""
    title = first_value(header, _TITLE)
    return (
        text(header, _MODALITY) == "KO"
        and isinstance(title, dict)
        and text(title, _SCHEME) == "DCM"
        and text(title, _CODE) in REJECTIONS
    )


def rejected_instances(headers: Iterable[DicomJson]) -> set[str]:
    """SOP Instance UIDs that rejection notes name as evidence; the notes themselves stay."""
    notes = [header for header in headers if is_rejection_note(header)]
    named = {
        text(instance, _REFERENCED)
        for note in notes
        for study in _items(note, _EVIDENCE)
        for series in _items(study, _SERIES)
        for instance in _items(series, _INSTANCES)
    }
    return named - {text(note, SOP_UID) for note in notes} - {""}


def _items(holder: DicomJson, tag: str) -> Iterator[dict[str, Any]]:
    for item in holder.get(tag, {}).get("Value") or []:
        if isinstance(item, dict):
            yield item
