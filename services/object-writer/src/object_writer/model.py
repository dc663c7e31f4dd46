"""Rules of the store keeper without I/O: display order, what may be compressed, how packs are cut."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from imaging_common.objects.model import Manifest, StoredInstance, manifest_key

BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE_SYNTAXES = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN})
MAX_FRAME_BYTES = 512 * 1024 * 1024
"""Larger frames stay as they came: encoding takes several times their size in memory."""

Name = tuple[str, str]
"""(SOP Instance UID, SHA-256): two versions of an instance are two names."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where an instance's entry lies now."""

    bucket: str
    key: str
    instance: StoredInstance

    @property
    def name(self) -> Name:
        """See `Name`."""
        return (self.instance.sop_instance_uid, self.instance.sha256)

    @property
    def manifest_key(self) -> str:
        """Of the object it lies in."""
        return manifest_key(self.key)


@dataclass(frozen=True, slots=True)
class PixelShape:
    """What the encoder must know of native pixels."""

    rows: int
    columns: int
    samples: int
    bits: int
    signed: bool
    big_endian: bool

    @property
    def frame_length(self) -> int:
        """Bytes of one frame."""
        return self.rows * self.columns * self.samples * self.bits // 8


def series_id(hospital: str, study_uid: str, series_uid: str) -> str:
    """`<hospital>/<study>/<series>`."""
    return f"{hospital}/{study_uid}/{series_uid}"


def belongs(manifest: Manifest, key: str) -> bool:
    """Whether a manifest lies under the key that its content says."""
    return key == manifest_key(manifest.data_key) and key.startswith(f"{manifest.hospital}/{manifest.study_uid}/")


def display_order(source: Source) -> tuple[int, str, str]:
    """Sort key: Instance Number (0020,0013), then SOP Instance UID, then digest."""
    number = source.instance.instance_number
    return (number if number is not None else 2**31, source.instance.sop_instance_uid, source.instance.sha256)


def cut(ordered: Sequence[Source], max_bytes: int, max_instances: int) -> list[list[Source]]:
    """Packs of about `max_bytes` as received, each in display order; a larger instance is a pack of its own size."""
    packs: list[list[Source]] = []
    size = 0
    for source in ordered:
        length = source.instance.original_length
        if not packs or size + length > max_bytes or len(packs[-1]) >= max_instances:
            packs.append([])
            size = 0
        packs[-1].append(source)
        size += length
    return packs


def groups(sources: Iterable[Source], max_bytes: int, max_count: int) -> list[list[Source]]:
    """Consecutive sources that are fetched and compressed together."""
    found: list[list[Source]] = []
    size = 0
    for source in sources:
        if not found or size + source.instance.length > max_bytes or len(found[-1]) >= max_count:
            found.append([])
            size = 0
        found[-1].append(source)
        size += source.instance.length
    return found


def pixel_shape(instance: StoredInstance) -> PixelShape | None:
    """The shape of pixels that can become HTJ2K; None where the entry stays as it came.

    HTJ2K takes whole frames of 8 or 16 bits, one sample or three interleaved ones, of a file that was not compressed.
    Big endian OW with 8 bits has its samples swapped in pairs (PS3.5 §8.1.2): byte-exact, but no image, so it stays.
    """
    if instance.encoding != "original" or instance.transfer_syntax_uid not in NATIVE_SYNTAXES:
        return None
    if not instance.frames or any(len(ranges) != 1 for ranges in instance.frames):
        return None
    header = instance.header
    if "7FE00010" not in header:  # float pixel data
        return None
    shape = PixelShape(
        rows=_number(header, "00280010"),
        columns=_number(header, "00280011"),
        samples=_number(header, "00280002", 1),
        bits=_number(header, "00280100"),
        signed=_number(header, "00280103") == 1,
        big_endian=instance.transfer_syntax_uid == BIG_ENDIAN,
    )
    if shape.big_endian and shape.bits == 8 and header["7FE00010"].get("vr") == "OW":
        return None
    interleaved = shape.samples == 1 or (shape.samples == 3 and _number(header, "00280006") == 0)
    fits = all(ranges[0][1] == shape.frame_length for ranges in instance.frames)
    usable = shape.bits in (8, 16) and interleaved and fits and 0 < shape.frame_length <= MAX_FRAME_BYTES
    return shape if usable else None


def moved(instance: StoredInstance, offset: int) -> StoredInstance:
    """The same entry, starting at `offset` of another data object."""
    shift = offset - instance.offset
    frames = [[(start + shift, length) for start, length in ranges] for ranges in instance.frames]
    return instance.model_copy(update={"offset": offset, "frames": frames})


def _number(header: dict[str, Any], tag: str, default: int = 0) -> int:
    values = header.get(tag, {}).get("Value") or [default]
    return int(values[0]) if isinstance(values[0], int | float) else default
