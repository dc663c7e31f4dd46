"""Where the frames of an instance lie (PS3.3 C.7.6.3, PS3.5 §8 and A.4): ranges within the file, nothing decoded."""

import struct
from typing import NamedTuple

from imaging_common.dicom.errors import RejectedInstance
from imaging_common.dicom.scan import PIXEL_DATA, Buffer, Element

ByteRange = tuple[int, int]
Frames = list[list[ByteRange]]
FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_PIXEL_DATA = 0x7FE00009
EXTENDED_OFFSETS = 0x7FE00001
EXTENDED_LENGTHS = 0x7FE00002
PIXEL_TAGS = (PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA)
MAX_FRAMES = 1_000_000
# SOI + the next marker's first byte (JPEG, JPEG-LS), SOC + SIZ (JPEG 2000, HTJ2K): what a frame begins with
_FRAME_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff")


class NativeLayout(NamedTuple):
    """Native pixels as `head ‖ frames ‖ tail` of the file, and what an encoder needs to know of them."""

    head_length: int
    frame_length: int
    frame_count: int
    tail_length: int
    big_endian: bool
    signed: bool
    bits_allocated: int
    bits_stored: int
    samples_per_pixel: int
    planar: bool
    """Planar Configuration 1: all of one colour, then the next."""
    rows: int
    columns: int
    word_vr: bool
    """The value is OW: in big endian, 8-bit samples are swapped in pairs (PS3.5 §8.1.2)."""


class PixelDescription(NamedTuple):
    """The Image Pixel Module (PS3.3 C.7.6.3) as far as it decides the layout; zero where an attribute is missing."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: bool
    frames: int
    subsampled: bool
    """Photometric Interpretation YBR_FULL_422 or YBR_PARTIAL_422: two chrominance samples for two pixels."""

    @property
    def complete(self) -> bool:
        """Whether a frame's length can be computed."""
        return bool(self.rows and self.columns and self.samples and self.bits_allocated)

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame."""
        samples = 2 if self.subsampled and self.samples == 3 else self.samples
        return self.rows * self.columns * samples * self.bits_allocated


def native_layout(
    pixels: Element, description: PixelDescription, file_length: int, big_endian: bool
) -> NativeLayout | None:
    """The layout of native pixel data; None when frames do not start on a byte or the description is incomplete.

    Raises
    ------
    RejectedInstance
        The value is shorter than the description says.
    """
    if not description.complete:
        return None
    if -(-description.frame_bits * description.frames // 8) > pixels.length:
        raise RejectedInstance("pixels-short", "Pixel Data is shorter than rows, columns, samples and frames say")
    if description.bits_allocated % 8:
        return None
    frame = description.frame_bits // 8
    return NativeLayout(
        head_length=pixels.offset,
        frame_length=frame,
        frame_count=description.frames,
        tail_length=file_length - pixels.offset - frame * description.frames,
        big_endian=big_endian,
        signed=description.signed,
        bits_allocated=description.bits_allocated,
        bits_stored=description.bits_stored,
        samples_per_pixel=description.samples,
        planar=description.planar,
        rows=description.rows,
        columns=description.columns,
        word_vr=pixels.vr == "OW",
    )


def native_frames(layout: NativeLayout) -> Frames:
    """One range per frame of a file in native format."""
    size = layout.frame_length
    return [[(layout.head_length + index * size, size)] for index in range(layout.frame_count)]


def encapsulated_frames(
    data: Buffer, pixels: Element, frames: int, offsets: Buffer | None, lengths: Buffer | None
) -> Frames:
    """The fragments of each frame: by Extended or Basic Offset Table, by their number, or by their first bytes.

    Raises
    ------
    RejectedInstance
        There are no fragments, fewer than frames, or nothing says which fragment belongs to which frame.
    """
    if not pixels.fragments:
        raise RejectedInstance("pixels-short", "encapsulated Pixel Data without an offset table item")
    (table_at, table_length), *fragments = pixels.fragments
    if len(fragments) < frames:
        raise RejectedInstance("pixels-short", f"{len(fragments)} fragments for {frames} frames")
    if frames == len(fragments):
        found: Frames | None = [[fragment] for fragment in fragments]
    elif frames == 1:
        found = [fragments]
    else:
        table = _unpack(data[table_at : table_at + table_length], "L")
        if offsets is not None and len(offsets):
            table = _unpack(offsets, "Q")
        found = _by_table(fragments, table, frames) or _by_marker(data, fragments, frames)
    if found is None:
        raise RejectedInstance("frames-unclear", "nothing says which fragments make which frame")
    if offsets is not None and lengths is not None and frames == len(fragments):
        _trim(found, _unpack(lengths, "Q"))
    return found


def _unpack(raw: Buffer, code: str) -> list[int]:
    count = len(raw) // struct.calcsize("<" + code)
    return list(struct.unpack_from(f"<{count}{code}", raw))


def _by_table(fragments: list[ByteRange], table: list[int], frames: int) -> Frames | None:
    if len(table) != frames or not fragments:
        return None
    first = fragments[0][0] - 8
    index_of = {offset - 8 - first: index for index, (offset, _) in enumerate(fragments)}
    starts = [index_of.get(offset) for offset in table]
    if starts[0] != 0 or None in starts:
        return None
    bounds = [*(start for start in starts if start is not None), len(fragments)]
    if any(bounds[i] >= bounds[i + 1] for i in range(frames)):
        return None
    return [fragments[bounds[i] : bounds[i + 1]] for i in range(frames)]


def _by_marker(data: Buffer, fragments: list[ByteRange], frames: int) -> Frames | None:
    starts = [i for i, (at, _) in enumerate(fragments) if bytes(data[at : at + 3]) in _FRAME_STARTS]
    if len(starts) != frames or starts[0] != 0:
        return None
    bounds = [*starts, len(fragments)]
    return [fragments[bounds[i] : bounds[i + 1]] for i in range(frames)]


def _trim(frames: Frames, lengths: list[int]) -> None:
    """Extended Offset Table Lengths (7FE0,0002) leave out a fragment's padding byte (PS3.3 C.7.6.3.1.8)."""
    for frame, length in zip(frames, lengths, strict=False):
        at, size = frame[0]
        if size - 1 <= length <= size:
            frame[0] = (at, length)
