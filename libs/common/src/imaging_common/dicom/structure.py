"""Walks the structure of an encoded dataset (PS3.5 §7) without decoding values: lengths, nesting, where pixels lie."""

import struct
from dataclasses import dataclass, field

from imaging_common.dicom.errors import RejectedInstance

MAX_NESTING = 32
UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


@dataclass(slots=True)
class PixelElement:
    """Where the value of Pixel Data lies; offsets in bytes from the start of the buffer."""

    tag: int
    element_start: int
    value_start: int
    value_length: int
    fragments: list[tuple[int, int]] | None = None
    """Encapsulated: (offset, length) of each fragment's value, the Basic Offset Table first."""


@dataclass(slots=True)
class Structure:
    """What a walk found."""

    pixels: PixelElement | None = None
    elements: int = 0
    tags: list[int] = field(default_factory=list)


class Walker:
    """One walk over one dataset."""

    def __init__(self, data: memoryview, *, explicit: bool, little: bool) -> None:
        self._data = data
        self._explicit = explicit
        order = "<" if little else ">"
        self._tag = struct.Struct(order + "HH").unpack_from
        self._u32 = struct.Struct(order + "L").unpack_from
        self._u16 = struct.Struct(order + "H").unpack_from

    def walk(self, start: int) -> Structure:
        """Walk from `start` to the end of the buffer.

        Raises
        ------
        RejectedInstance
            An element reaches past the end, or sequences nest deeper than `MAX_NESTING`.
        """
        found = Structure()
        position, end = start, len(self._data)
        while position < end:
            tag, vr, length, value = self.header(position, end, self._explicit)
            found.elements += 1
            if tag in PIXEL_TAGS:
                found.pixels = PixelElement(tag, position, value, length)
                if length == UNDEFINED:
                    found.pixels.fragments = []
                    position = self._fragments(value, end, found.pixels.fragments)
                    found.pixels.value_length = position - value
                else:
                    position = self._past(value, length, end)
            else:
                position = self.past_value(vr, length, value, end, 1, self._explicit)
        return found

    def header(self, position: int, end: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR, value length and value position of the element at `position`."""
        if position + 8 > end:
            raise RejectedInstance("truncated", f"the file ends {end - position} bytes into an element")
        group, element = self._tag(self._data, position)
        tag = (group << 16) | element
        if not explicit or group == 0xFFFE:
            return tag, b"", self._u32(self._data, position + 4)[0], position + 8
        vr = bytes(self._data[position + 4 : position + 6])
        if vr in LONG_VRS:
            if position + 12 > end:
                raise RejectedInstance("truncated", "the file ends within an element's length")
            return tag, vr, self._u32(self._data, position + 8)[0], position + 12
        if not (vr.isalpha() and vr.isupper()):
            raise RejectedInstance("malformed", f"element {tag:08X} has no valid VR")
        return tag, vr, self._u16(self._data, position + 6)[0], position + 8

    def past_value(self, vr: bytes, length: int, value: int, end: int, depth: int, explicit: bool) -> int:
        """The position after an element's value, walked through where it is a sequence."""
        if length == UNDEFINED:
            return self._sequence(value, end, depth, explicit and vr != b"UN")
        past = self._past(value, length, end)
        if vr == b"SQ":
            self._items(value, past, depth, explicit)
        return past

    @staticmethod
    def _past(value: int, length: int, end: int) -> int:
        if value + length > end:
            raise RejectedInstance("truncated", f"an element is {value + length - end} bytes longer than the file")
        return value + length

    def _sequence(self, position: int, end: int, depth: int, explicit: bool) -> int:
        """A sequence of undefined length; returns the position after its delimiter."""
        _too_deep(depth)
        while True:
            tag, _, length, value = self.header(position, end, explicit)
            if tag == SEQUENCE_END:
                return value
            if tag != ITEM:
                raise RejectedInstance("malformed", f"a sequence holds element {tag:08X} where an item should be")
            position = self._item(length, value, end, depth, explicit)

    def _items(self, position: int, end: int, depth: int, explicit: bool) -> None:
        """The items of a sequence of defined length."""
        _too_deep(depth)
        while position < end:
            tag, _, length, value = self.header(position, end, explicit)
            if tag != ITEM:
                raise RejectedInstance("malformed", f"a sequence holds element {tag:08X} where an item should be")
            position = self._item(length, value, end, depth, explicit)

    def _item(self, length: int, value: int, end: int, depth: int, explicit: bool) -> int:
        until = end if length == UNDEFINED else self._past(value, length, end)
        position = value
        while position < until:
            tag, vr, inner_length, inner_value = self.header(position, until, explicit)
            if tag == ITEM_END:
                return inner_value
            position = self.past_value(vr, inner_length, inner_value, until, depth + 1, explicit)
        if length == UNDEFINED:
            raise RejectedInstance("truncated", "the file ends within a sequence item")
        return position

    def _fragments(self, position: int, end: int, fragments: list[tuple[int, int]]) -> int:
        """Encapsulated pixel data (PS3.5 §A.4); returns the position after its delimiter."""
        while True:
            tag, _, length, value = self.header(position, end, explicit=False)
            if tag == SEQUENCE_END:
                return value
            if tag != ITEM or length == UNDEFINED:
                raise RejectedInstance("malformed", "encapsulated pixel data holds something that is not a fragment")
            position = self._past(value, length, end)
            fragments.append((value, length))


def _too_deep(depth: int) -> None:
    if depth > MAX_NESTING:
        raise RejectedInstance("too-deep", f"sequences nest deeper than {MAX_NESTING}")
