"""Makes a PACS's DICOM JSON (PS3.18 F) what `imaging_common.dicom.header` makes of the same file, where that can be."""

import math
from typing import Any

from edge_agent.pacs_model import ABOUT_THE_ANSWER, AVAILABLE_SYNTAX, CHARACTER_SET, SOP_UID, DicomJson, text
from imaging_common.dicom.header import BULK_BYTES, BULK_BYTES_OF_VALUES, tag_key
from imaging_common.dicom.pixels import PIXEL_TAGS

MAX_DEPTH = 32
_PIXELS = frozenset(tag_key(tag) for tag in PIXEL_TAGS)
_STRIPPED = frozenset({"AE", "CS", "DA", "DT", "TM", "AS", "UI"})
_TEXT = frozenset({"LO", "LT", "SH", "ST", "UC", "UR", "UT"})
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def whole_header(raw: DicomJson) -> DicomJson:
    """The header of one instance from WADO-RS metadata (PS3.18 §10.4.1.1.4).

    `BulkDataURI` becomes `bulkdata://<sop uid>/<tag>`, inside sequences `…/<sequence tag>/<item, from 0>/<tag>`; the
    character set is UTF-8, because JSON is; group lengths, File Meta Information and what tells of the answer go.
    """
    return _dataset(raw, f"bulkdata://{text(raw, SOP_UID)}", 0)


def answer(raw: DicomJson) -> DicomJson:
    """A QIDO-RS match in the same form, attributes without a value left out; (0008,3002) stays, it is asked for."""
    found = _dataset(raw, "bulkdata:/", 0)
    if AVAILABLE_SYNTAX in raw:
        found[AVAILABLE_SYNTAX] = raw[AVAILABLE_SYNTAX]
    return {tag: attribute for tag, attribute in found.items() if "Value" in attribute}


def _dataset(raw: DicomJson, path: str, depth: int) -> DicomJson:
    if depth > MAX_DEPTH:
        raise ValueError("sequences are nested too deep")
    written: DicomJson = {}
    for tag in sorted(raw):
        attribute, key = raw[tag], tag.upper()
        if len(key) != 8 or not isinstance(attribute, dict) or key[4:] == "0000":
            continue
        if not depth and (key.startswith("0002") or key in ABOUT_THE_ANSWER):
            continue
        if key == CHARACTER_SET:
            written[key] = {"vr": "CS", "Value": ["ISO_IR 192"]}
            continue
        written[key] = _attribute(key, attribute, f"{path}/{key}", depth)
    return written


def _attribute(key: str, raw: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
    vr = str(raw.get("vr", "UN"))
    values = raw.get("Value") or []
    if vr == "SQ":
        items = [
            _dataset(item if isinstance(item, dict) else {}, f"{path}/{i}", depth + 1) for i, item in enumerate(values)
        ]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    if key in _PIXELS or "BulkDataURI" in raw:
        return {"vr": vr, "BulkDataURI": path}
    if "InlineBinary" in raw or vr in _BINARY:
        inline = str(raw.get("InlineBinary") or "")
        if len(inline) * 3 // 4 - inline.count("=") > BULK_BYTES:
            return {"vr": vr, "BulkDataURI": path}
        return {"vr": vr, "InlineBinary": inline} if inline else {"vr": vr}
    if sum(len(value) for value in values if isinstance(value, str)) > BULK_BYTES_OF_VALUES:
        return {"vr": vr, "BulkDataURI": path}
    written = [_value(vr, value) for value in values]
    if written in ([], [None]):
        return {"vr": vr}
    return {"vr": vr, "Value": written}


def _value(vr: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    if vr == "PN":
        groups = value if isinstance(value, dict) else dict(zip(_GROUPS, str(value).split("="), strict=False))
        kept = {name: stripped for name in _GROUPS if (stripped := str(groups.get(name) or "").rstrip("\0 ^"))}
        return kept or None
    if vr in ("DS", "FL", "FD"):
        return _decimal(value, vr)
    if vr == "IS" or vr in ("SL", "SS", "SV", "UL", "US", "UV"):
        return _integer(value)
    if isinstance(value, str):
        if vr in _STRIPPED:
            value = value.strip("\0 ")
        elif vr in _TEXT:
            value = value.rstrip("\0 ")
        return value or None
    return value


def _decimal(value: Any, vr: str) -> Any:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    if math.isfinite(number):
        return number
    if vr == "DS":
        return value
    return "NaN" if math.isnan(number) else "inf" if number > 0 else "-inf"


def _integer(value: Any) -> Any:
    if isinstance(value, int):
        return value
    try:
        return int(value)
    except (TypeError, ValueError):
        return _decimal(value, "DS")
