"""Rules of harvesting headers from a PACS that gives none, without I/O: what is read next, and what still holds."""

from collections.abc import Collection, Sequence
from typing import Any

from edge_agent.model import PacsInstance
from edge_agent.pacs_model import DicomJson
from imaging_common.objects.catalogue import CatalogueInstance

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
PORTION = 4
"""Instances that are asked for together: what is on its way when somebody else needs the PACS is soon broken off."""
HARVEST_TRIES = 3
"""How often all instances of a study are asked for, as long as they do not change."""
RETRY_SECONDS = 600.0
COMPARED = (
    *("00080020", "00080050", "00100010", "00100020", "00100030", "00100040", "0020000D", "0020000E", "00200013"),
)
"""Whose and which: where the PACS says otherwise by C-FIND, the instance was corrected after it was read."""


def next_portion(wanted: Sequence[PacsInstance], passed_over: Collection[str]) -> list[PacsInstance]:
    """The next instances of one series to read, key objects first, since they may reject others; empty: none."""
    left = [one for one in wanted if one.sop_instance_uid not in passed_over]
    left.sort(key=lambda one: one.sop_class_uid != KEY_OBJECTS)
    return [one for one in left if one.series_uid == left[0].series_uid][:PORTION] if left else []


def completed_by(entry: CatalogueInstance, header: DicomJson | None) -> CatalogueInstance:
    """The entry with a harvested header in the place of what C-FIND gave, if that says nothing else."""
    if header is None or any(_differ(entry.header.get(tag), header.get(tag)) for tag in COMPARED):
        return entry
    return entry.model_copy(update={"full": True, "header": header})


def _differ(brief: dict[str, Any] | None, whole: dict[str, Any] | None) -> bool:
    """Whether both have a value and it is not the same; what is not ASCII may be garbled and proves nothing."""
    one, other = _plain(brief), _plain(whole)
    return bool(one and other and (one + other).isascii() and one != other)


def _plain(attribute: dict[str, Any] | None) -> str:
    values = (attribute or {}).get("Value") or [""]
    first = values[0]
    if isinstance(first, dict):
        first = "=".join(str(first.get(name) or "").rstrip("^ ") for name in ("Alphabetic", "Ideographic", "Phonetic"))
        first = first.rstrip("=")
    return "" if first is None else str(first).strip("\0 ")
