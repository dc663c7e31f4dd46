"""Walks a data set's encoding (PS3.5 §7): bytes enter, the elements' places leave; every byte is accounted for.

pydicom reads what it can of a damaged file and stays silent. This walk is strict instead: a value that ends beyond
the data, an item without an end, or bytes after the last element refuse the file. It copies no values.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from pydicom.datadict import dictionary_VR

from imaging_common.dicom.errors import RejectedInstance

Buffer = bytes | memoryview
UNDEFINED = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
MAX_DEPTH = 32
MAX_ELEMENTS = 1_500_000
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT = frozenset(
    {
        *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH"),
        *(b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
    }
)
_NAMES = {vr: vr.decode() for vr in _LONG | _SHORT}


class Element(NamedTuple):
    """Where one element's value lies. `length` counts what the value field occupies, delimiters included."""

    tag: int
    vr: str
    offset: int
    length: int
    items: "list[list[Element]] | None" = None
    """Of a sequence."""
    fragments: list[tuple[int, int]] | None = None
    """Of encapsulated pixel data (PS3.5 A.4): (offset, length) of each item's value; the first is the offset table."""


class Encoding(NamedTuple):
    """How element headers are written (PS3.5 §7.1.2, §7.1.3, A.3)."""

    implicit: bool
    big_endian: bool


IMPLICIT_LE = Encoding(True, False)
EXPLICIT_LE = Encoding(False, False)
EXPLICIT_BE = Encoding(False, True)


class _Codec(NamedTuple):
    implicit: bool
    tag_length: struct.Struct
    explicit: struct.Struct
    long: struct.Struct


_CODECS = {
    encoding: _Codec(
        encoding.implicit,
        struct.Struct((">" if encoding.big_endian else "<") + "HHL"),
        struct.Struct((">" if encoding.big_endian else "<") + "HH2sH"),
        struct.Struct((">" if encoding.big_endian else "<") + "L"),
    )
    for encoding in (IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE)
}


@lru_cache(maxsize=16384)
def known_vr(tag: int) -> str:
    """The dictionary's VR of a public tag (PS3.6), `UN` for what it does not know."""
    if not tag & 0xFFFF:
        return "UL"
    if tag >> 16 & 1:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


def _truncated() -> RejectedInstance:
    return RejectedInstance("truncated", "an element's value ends beyond the data")


class _Walk:
    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._left = MAX_ELEMENTS

    def elements(self, pos: int, end: int, codec: _Codec, depth: int, delimited: bool) -> tuple[list[Element], int]:
        """Elements from `pos` to `end`, or to the item delimiter; and the position after them."""
        if depth > MAX_DEPTH:
            raise RejectedInstance("nested-too-deep", f"sequences are nested deeper than {MAX_DEPTH}")
        data = self._data
        found: list[Element] = []
        implicit, explicit, plain, long = codec.implicit, codec.explicit, codec.tag_length, codec.long
        while pos < end:
            if end - pos < 8:
                raise RejectedInstance("truncated", "bytes are left that make no element")
            self._left -= 1
            if self._left < 0:
                raise RejectedInstance("too-many-elements", f"more than {MAX_ELEMENTS} elements")
            if implicit:
                group, number, length = plain.unpack_from(data, pos)
                tag = group << 16 | number
                vr = known_vr(tag) if group != 0xFFFE else ""
                pos += 8
            else:
                group, number, code, length = explicit.unpack_from(data, pos)
                tag = group << 16 | number
                pos += 8
                if code in _SHORT:
                    vr = _NAMES[code]
                elif group == 0xFFFE:
                    vr = ""
                elif code.isalpha() and code.isupper():
                    # PS3.5 §7.1.2 and §6.2: a VR that a later edition adds has a length of 32 bits
                    vr = _NAMES.get(code, "UN")
                    if end - pos < 4:
                        raise _truncated()
                    (length,) = long.unpack_from(data, pos)
                    pos += 4
                else:
                    raise RejectedInstance("bad-vr", "an element has no value representation")
            if group == 0xFFFE:
                if tag == ITEM_END and delimited:
                    return found, pos
                raise RejectedInstance("bad-item", "a delimiter stands where an element should be")
            if tag < 0x00080000 and (group <= 2 or group % 2):
                raise RejectedInstance("bad-tag", f"group {group:04X} may not stand in a data set")
            element = self._value(tag, vr, pos, length, end, codec, depth)
            found.append(element)
            pos = element.offset + element.length
        if delimited:
            raise RejectedInstance("truncated", "an item has no end")
        return found, pos

    def _value(self, tag: int, vr: str, pos: int, length: int, end: int, codec: _Codec, depth: int) -> Element:
        if length != UNDEFINED:
            if length > end - pos:
                raise _truncated()
            if vr == "UN" and not codec.implicit and known_vr(tag) == "SQ":
                return self._unknown(tag, pos, length, depth)
            if vr != "SQ":
                return Element(tag, vr, pos, length)
            items, _ = self._items(pos, pos + length, codec, depth, delimited=False)
            return Element(tag, vr, pos, length, items)
        if tag == PIXEL_DATA:
            fragments, after = self._fragments(pos, end, codec)
            return Element(tag, vr if vr in ("OB", "OW") else "OB", pos, after - pos, None, fragments)
        if vr not in ("SQ", "UN"):
            raise RejectedInstance("bad-length", f"a value of VR {vr} has no length")
        # PS3.5 §6.2.2 note 2: UN of undefined length is a sequence in Implicit VR Little Endian
        inner = codec if vr == "SQ" else _CODECS[IMPLICIT_LE]
        items, after = self._items(pos, end, inner, depth, delimited=True)
        return Element(tag, "SQ", pos, after - pos, items)

    def _unknown(self, tag: int, pos: int, length: int, depth: int) -> Element:
        """A public sequence from a sender that did not know it (PS3.5 §6.2.2): opaque when it does not parse."""
        try:
            items, _ = self._items(pos, pos + length, _CODECS[IMPLICIT_LE], depth, delimited=False)
        except RejectedInstance as error:
            if error.reason_code in ("nested-too-deep", "too-many-elements"):
                raise
            return Element(tag, "UN", pos, length)
        return Element(tag, "SQ", pos, length, items)

    def _items(
        self, pos: int, end: int, codec: _Codec, depth: int, *, delimited: bool
    ) -> tuple[list[list[Element]], int]:
        items: list[list[Element]] = []
        while pos < end:
            if end - pos < 8:
                raise _truncated()
            group, number, length = codec.tag_length.unpack_from(self._data, pos)
            tag = group << 16 | number
            pos += 8
            if tag == SEQUENCE_END and delimited:
                return items, pos
            if tag != ITEM:
                raise RejectedInstance("bad-item", "a sequence holds something that is no item")
            if length == UNDEFINED:
                item, pos = self.elements(pos, end, codec, depth + 1, True)
            elif length > end - pos:
                raise _truncated()
            else:
                item, pos = self.elements(pos, pos + length, codec, depth + 1, False)
            items.append(item)
        if delimited:
            raise RejectedInstance("truncated", "a sequence has no end")
        return items, pos

    def _fragments(self, pos: int, end: int, codec: _Codec) -> tuple[list[tuple[int, int]], int]:
        fragments: list[tuple[int, int]] = []
        while end - pos >= 8:
            group, number, length = codec.tag_length.unpack_from(self._data, pos)
            pos += 8
            tag = group << 16 | number
            if tag == SEQUENCE_END:
                return fragments, pos
            if tag != ITEM or length == UNDEFINED:
                raise RejectedInstance("bad-item", "encapsulated pixel data holds something that is no fragment")
            if length > end - pos:
                raise _truncated()
            self._left -= 1
            if self._left < 0:
                raise RejectedInstance("too-many-elements", f"more than {MAX_ELEMENTS} elements and fragments")
            fragments.append((pos, length))
            pos += length
        raise RejectedInstance("truncated", "encapsulated pixel data has no end")


def scan(data: Buffer, start: int, encoding: Encoding) -> list[Element]:
    """The elements of the data set that fills `data` from `start` to its end.

    Raises
    ------
    RejectedInstance
        The encoding does not hold, or bytes are missing or left over.
    """
    elements, _ = _Walk(data).elements(start, len(data), _CODECS[encoding], 0, False)
    return elements
