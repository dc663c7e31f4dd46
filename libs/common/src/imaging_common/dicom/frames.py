"""Where each frame's bytes lie inside a Part 10 file (PS3.5 §8, §A.4)."""

import itertools
import struct

from pydicom import Dataset

from imaging_common.dicom.errors import RejectedInstance
from imaging_common.dicom.structure import PixelElement

Frames = list[list[tuple[int, int]]]
MAX_FRAMES = 100_000


def frame_count(header: Dataset) -> int:
    """Number of Frames (0028,0008); 1 where it is absent or no number."""
    try:
        count = int(str(header.get("NumberOfFrames", 1) or 1))
    except ValueError:
        count = 1
    if not 0 < count <= MAX_FRAMES:
        raise RejectedInstance("too-many-frames", f"Number of Frames is {count}; 1 to {MAX_FRAMES} are taken")
    return count


def native_frame_length(header: Dataset) -> int | None:
    """Bytes of a native frame; None where frames do not start on a byte or the attributes are missing."""
    try:
        bits = int(header.BitsAllocated)
        samples = int(header.get("SamplesPerPixel", 1))
        rows, columns = int(header.Rows), int(header.Columns)
    except (AttributeError, TypeError, ValueError):
        return None
    if bits % 8 or not rows or not columns:
        return None
    if header.get("PhotometricInterpretation") == "YBR_FULL_422" and samples == 3:
        return rows * columns * 2 * bits // 8
    return rows * columns * samples * bits // 8


def native_frames(header: Dataset, pixels: PixelElement) -> Frames:
    """One range per frame of native pixel data; empty where they cannot be told apart."""
    length, count = native_frame_length(header), frame_count(header)
    if length is None or length * count > pixels.value_length:
        return []
    return [[(pixels.value_start + i * length, length)] for i in range(count)]


def encapsulated_frames(data: memoryview, header: Dataset, pixels: PixelElement) -> Frames:
    """The fragments of each frame, by the extended or basic offset table, else by count; empty where it is unclear."""
    assert pixels.fragments is not None
    if not pixels.fragments:
        return []
    (table_start, table_length), *fragments = pixels.fragments
    count = frame_count(header)
    if count == 1:
        return [fragments] if fragments else []
    if len(fragments) == count:
        return [[fragment] for fragment in fragments]
    offsets = _offsets(data, header, table_start, table_length)
    if len(offsets) != count or not fragments:
        return []
    first_item = fragments[0][0] - 8
    starts = {start - 8 - first_item: index for index, (start, _) in enumerate(fragments)}
    if any(offset not in starts for offset in offsets):
        return []
    bounds = [starts[offset] for offset in offsets] + [len(fragments)]
    return [fragments[a:b] for a, b in itertools.pairwise(bounds)]


def _offsets(data: memoryview, header: Dataset, start: int, length: int) -> list[int]:
    extended = header.get("ExtendedOffsetTable")
    if isinstance(extended, bytes) and len(extended) % 8 == 0:
        return list(struct.unpack(f"<{len(extended) // 8}Q", extended))
    if length % 4:
        return []
    return list(struct.unpack_from(f"<{length // 4}L", data, start))
