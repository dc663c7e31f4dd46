"""Turns scanned elements into DICOM JSON (PS3.18 F.2) without bulk values. One odd element never costs the others."""

import math
import struct
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from imaging_common.dicom.pixels import PIXEL_TAGS
from imaging_common.dicom.scan import Buffer, Element, known_vr
from imaging_common.dicom.text import Charset

BULK_BYTES = 1024
BULK_BYTES_OF_VALUES = 64 << 10
"""Numbers and long text stay readable in the header up to here."""
CHARACTER_SET = 0x00080005
PIXEL_REPRESENTATION = 0x00280103
_BINARY = {"OB": 1, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2, "UN": 1}
_NUMBERS = {"FL": "f", "FD": "d", "SL": "l", "SS": "h", "SV": "q", "UL": "L", "US": "H", "UV": "Q"}
_CODED_TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_ONE_VALUE = frozenset({"LT", "ST", "UT", "UR"})
_STRIPPED = frozenset({"AE", "CS", "DA", "DS", "DT", "IS", "TM", "AS", "UI"})
_AMBIGUOUS = {"US or SS": "US", "OB or OW": "OW", "US or OW": "US", "US or SS or OW": "US"}
_PN_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_TAGS: dict[int, str] = {}


def tag_key(tag: int) -> str:
    """The eight hexadecimal digits that name an attribute in DICOM JSON (PS3.18 F.2.2)."""
    key = _TAGS.get(tag)
    if key is None:
        key = f"{tag:08X}"
        if len(_TAGS) < 16384:
            _TAGS[tag] = key
    return key


class HeaderWriter:
    """Writes the DICOM JSON of one instance.

    `BulkDataURI` is `bulkdata://<sop uid>/<tag>` at the top and `…/<sequence tag>/<item, from 0>/<tag>` inside.
    """

    def __init__(self, data: Buffer, sop_instance_uid: str, big_endian: bool) -> None:
        self._data = data
        self._root = f"bulkdata://{sop_instance_uid}"
        self._order = ">" if big_endian else "<"
        self._big_endian = big_endian

    def write(self, elements: list[Element]) -> dict[str, Any]:
        """The DICOM JSON object of a data set."""
        return self._dataset(elements, Charset(), self._root, False)

    def _dataset(self, elements: list[Element], charset: Charset, path: str, signed: bool) -> dict[str, Any]:
        written: dict[str, Any] = {}
        for element in elements:
            tag = element.tag
            if not tag & 0xFFFF:  # group lengths are not part of the JSON model (PS3.18 F.2.2)
                continue
            key = tag_key(tag)
            if tag == CHARACTER_SET:
                terms = self._raw(element).decode("latin-1").strip("\0 ").split("\\")
                charset = Charset(terms)
                written[key] = {"vr": "CS", "Value": ["ISO_IR 192"]}
                continue
            if tag == PIXEL_REPRESENTATION:
                signed = bytes(self._raw(element)).strip(b"\0") == b"\1"
            try:
                written[key] = self._attribute(element, charset, f"{path}/{key}", signed)
            except (ValueError, LookupError, ArithmeticError, struct.error):
                written[key] = self._binary("UN", element, f"{path}/{key}")
        return written

    def _raw(self, element: Element) -> bytes:
        return bytes(self._data[element.offset : element.offset + element.length])

    def _attribute(self, element: Element, charset: Charset, path: str, signed: bool) -> dict[str, Any]:
        vr = element.vr
        if element.items is not None:
            items = [self._dataset(item, charset, f"{path}/{i}", signed) for i, item in enumerate(element.items)]
            return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        if vr == "UN" and element.length <= BULK_BYTES_OF_VALUES:
            vr = known_vr(element.tag)  # a sender that did not know a public attribute
            vr = "UN" if vr == "SQ" else vr
        if vr in _AMBIGUOUS:
            vr = "SS" if signed and vr != "OB or OW" else _AMBIGUOUS[vr]
        if vr in _BINARY or element.tag in PIXEL_TAGS or element.fragments is not None:
            return self._binary(vr, element, path)
        if not element.length:
            return {"vr": vr}
        if element.length > BULK_BYTES_OF_VALUES:
            return {"vr": vr, "BulkDataURI": path}
        raw = self._raw(element)
        if vr in _NUMBERS:
            values: list[Any] = self._numbers(raw, _NUMBERS[vr])
        elif vr == "AT":
            pairs = struct.unpack(f"{self._order}{len(raw) // 2}H", raw)
            values = [f"{pairs[i]:04X}{pairs[i + 1]:04X}" for i in range(0, len(pairs), 2)]
        else:
            values = _texts(vr, charset.decode(raw) if vr in _CODED_TEXT else raw.decode("latin-1"))
        return {"vr": vr, "Value": values} if values else {"vr": vr}

    def _numbers(self, raw: bytes, code: str) -> list[Any]:
        size = struct.calcsize("<" + code)
        if len(raw) % size:
            raise ValueError("the length is no multiple of the number's size")
        values = struct.unpack(f"{self._order}{len(raw) // size}{code}", raw)
        if code in "fd":
            return [value if math.isfinite(value) else _not_finite(value) for value in values]
        return list(values)

    def _binary(self, vr: str, element: Element, path: str) -> dict[str, Any]:
        if element.tag in PIXEL_TAGS or element.fragments is not None or element.length > BULK_BYTES:
            return {"vr": vr, "BulkDataURI": path}
        if not element.length:
            return {"vr": vr}
        raw = self._raw(element)
        width = _BINARY.get(vr, 1)
        if self._big_endian and width > 1:  # InlineBinary is little endian (PS3.18 F.2.7)
            raw = b"".join(raw[i : i + width][::-1] for i in range(0, len(raw), width))
        return {"vr": vr, "InlineBinary": b64encode(raw).decode()}


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _texts(vr: str, text: str) -> list[Any]:
    """The values of a character string (PS3.5 §6.2), its padding removed; an empty one among several is null."""
    text = text.rstrip("\0 ")
    if vr in _ONE_VALUE:
        return [text] if text else []
    parts = text.split("\\") if "\\" in text else [text]
    if vr in _STRIPPED:
        parts = [part.strip("\0 ") for part in parts]
    elif len(parts) > 1:
        parts = [part.rstrip() for part in parts]
    if parts == [""]:
        return []
    convert = _CONVERT.get(vr)
    if convert is None:
        return [part or None for part in parts]
    values = [convert(part) if part else None for part in parts]
    return [] if values == [None] else values


def _person_name(text: str) -> dict[str, str] | None:
    groups = zip(_PN_GROUPS, text.split("="), strict=False)
    return {name: stripped for name, group in groups if (stripped := group.rstrip("\0 ^"))} or None


def _decimal(text: str) -> float | str:
    """A number where the text is one (PS3.18 F.2.3 allows both); the text itself otherwise."""
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) and "_" not in text else text


def _integer(text: str) -> int | float | str:
    try:
        return int(text) if "_" not in text else text
    except ValueError:
        return _decimal(text)


_CONVERT: dict[str, Callable[[str], Any]] = {"PN": _person_name, "DS": _decimal, "IS": _integer}
