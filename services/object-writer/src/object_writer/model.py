"""Rules of the store keeper without I/O: display order, what may be compressed, how entries move between objects."""

from dataclasses import dataclass
from typing import Any

from imaging_common.objects.model import StoredInstance
from imaging_common.objects.rebuild import HTJ2K_RPCL

BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE_SYNTAXES = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN})


@dataclass(frozen=True, slots=True)
class Source:
    """Where an instance's entry lies now."""

    bucket: str
    key: str
    instance: StoredInstance


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


def display_order(source: Source) -> tuple[int, str, str]:
    """Sort key: Instance Number (0020,0013), then SOP Instance UID, then digest."""
    number = source.instance.instance_number
    return (number if number is not None else 2**31, source.instance.sop_instance_uid, source.instance.sha256)


def pixel_shape(instance: StoredInstance) -> PixelShape | None:
    """The shape of pixels that can become HTJ2K; None where the entry stays as it came.

    HTJ2K takes whole frames of 8 or 16 bits, one sample or three interleaved ones, of a file that was not compressed.
    """
    if instance.encoding != "original" or instance.transfer_syntax_uid not in NATIVE_SYNTAXES:
        return None
    if not instance.frames or any(len(ranges) != 1 for ranges in instance.frames):
        return None
    header = instance.header
    shape = PixelShape(
        rows=_number(header, "00280010"),
        columns=_number(header, "00280011"),
        samples=_number(header, "00280002", 1),
        bits=_number(header, "00280100"),
        signed=_number(header, "00280103") == 1,
        big_endian=instance.transfer_syntax_uid == BIG_ENDIAN,
    )
    interleaved = shape.samples == 1 or (shape.samples == 3 and _number(header, "00280006") == 0)
    fits = all(ranges[0][1] == shape.frame_length for ranges in instance.frames)
    return shape if shape.bits in (8, 16) and interleaved and fits and shape.frame_length else None


def moved(instance: StoredInstance, offset: int) -> StoredInstance:
    """The same entry, starting at `offset` of another data object."""
    shift = offset - instance.offset
    frames = [[(start + shift, length) for start, length in ranges] for ranges in instance.frames]
    return instance.model_copy(update={"offset": offset, "frames": frames})


def compressed(
    instance: StoredInstance, shape: PixelShape, *, head: int, frame_lengths: list[int], tail: int
) -> StoredInstance:
    """The manifest entry of `head ‖ frames ‖ tail`, starting at offset 0."""
    frames, position = [], head
    for length in frame_lengths:
        frames.append([(position, length)])
        position += length
    return instance.model_copy(
        update={
            "encoding": "htj2k",
            "offset": 0,
            "length": position + tail,
            "frames": frames,
            "frame_transfer_syntax_uid": HTJ2K_RPCL,
            "native_frame_length": shape.frame_length,
            "head_length": head,
            "tail_length": tail,
            "swapped": shape.big_endian,
            "signed": shape.signed,
        }
    )


def _number(header: dict[str, Any], tag: str, default: int = 0) -> int:
    values = header.get(tag, {}).get("Value") or [default]
    return int(values[0]) if isinstance(values[0], int | float) else default
