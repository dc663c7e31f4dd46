"""When two headers say the same: the index compares DICOM JSON (PS3.18 F) of different makes by its values only.

A PACS writes the same header otherwise than the centre does: other order, numbers as text, no private attributes, its
own retrieval attributes. None of that is a correction.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

Header = Mapping[str, Any]
NOT_COMPARED = frozenset(
    {
        "00080005",  # Specific Character Set: DICOM JSON is UTF-8
        "00080052", "00080053", "00080054", "00080055", "00080056", "00081190",  # query and retrieval
        "00083002",  # Available Transfer Syntax UID
        "00080061", "00080062", "00201200", "00201202", "00201204", "00201206", "00201208", "00201209",  # counted
        "00280006",  # Planar Configuration: goes with the transfer syntax
    }
)  # fmt: skip


def canonical(header: Header) -> dict[str, Any]:
    """The standard attributes that have a value, in one form: no VR, numbers as numbers, text without padding."""
    found: dict[str, Any] = {}
    for tag, attribute in header.items():
        if tag in NOT_COMPARED or tag[:4] == "0002" or int(tag[3], 16) % 2 or attribute.get("vr") == "UN":
            continue
        values = [_canonical_value(value, attribute.get("vr", "")) for value in attribute.get("Value") or ()]
        while values and values[-1] in ("", None, {}):
            values.pop()
        if values:
            found[tag] = values
    return found


def _canonical_value(value: Any, vr: str) -> Any:
    if isinstance(value, Mapping):
        if vr == "SQ":
            return canonical(value)
        groups = [str(value.get(name) or "").strip().rstrip("^") for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    if value is None:
        return ""
    text = str(value).strip(" \0")
    if vr == "PN":
        return "=".join(group.rstrip("^") for group in text.split("=")).rstrip("=")
    if vr == "TM":
        return text.rstrip("0").rstrip(".") if "." in text else text
    return _number(text) if not isinstance(value, str) or vr in ("DS", "IS") else text


def _number(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else f"{number:.6g}"


def header_digest(header: Header) -> str:
    """Equal for headers that say the same."""
    return hashlib.sha256(orjson.dumps(canonical(header), option=orjson.OPT_SORT_KEYS)).hexdigest()


def agree(one: Header, other: Header, *, ascii_only: bool = False) -> bool:
    """Whether no attribute that has a value in both has another one.

    Parameters
    ----------
    ascii_only
        Leave out what is not ASCII: a C-FIND answer without character set (PS3.4 C.4.1.1.3.1) garbles it.
    """
    first, second = canonical(one), canonical(other)
    return all(
        first[tag] == second[tag]
        for tag in first.keys() & second.keys()
        if not ascii_only or (str(first[tag]) + str(second[tag])).isascii()
    )
