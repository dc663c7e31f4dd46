"""One entry of a pack: compressed without losing a byte, proven by rebuilding it. Slow: runs in a process pool."""

import hashlib
import os

from imaging_common.objects.model import StoredInstance
from imaging_common.objects.rebuild import encode_frame, rebuild
from object_writer.model import PixelShape, compressed, moved

NICENESS = 10


def lower_priority() -> None:
    """Let receiving and viewing go first."""
    os.nice(NICENESS)


def pack_entry(file: bytes, instance: StoredInstance, shape: PixelShape | None) -> tuple[bytes, StoredInstance]:
    """The entry's bytes and its manifest entry, starting at offset 0.

    Whatever does not come back with the SHA-256 it came with, or does not get smaller, stays as it came.

    Raises
    ------
    ValueError
        The file itself has not the SHA-256 it came with: what was staged is rotten.
    """
    if hashlib.sha256(file).hexdigest() != instance.sha256:
        raise ValueError("a staged file does not have the SHA-256 it came with")
    original = moved(instance, 0)
    if shape is None:
        return file, original
    entry, stored = _compress(file, original, shape)
    try:
        same = hashlib.sha256(rebuild(memoryview(entry), 0, stored)).hexdigest() == instance.sha256
    except ValueError:
        same = False
    return (entry, stored) if same and len(entry) < len(file) else (file, original)


def _compress(file: bytes, original: StoredInstance, shape: PixelShape) -> tuple[bytes, StoredInstance]:
    view = memoryview(file)
    first = original.frames[0][0][0]
    last_start, last_length = original.frames[-1][0]
    head, tail = view[:first], view[last_start + last_length :]
    frames = [
        encode_frame(
            view[start : start + length],
            rows=shape.rows,
            columns=shape.columns,
            samples=shape.samples,
            bits=shape.bits,
            signed=shape.signed,
            big_endian=shape.big_endian,
        )
        for ((start, length),) in original.frames
    ]
    stored = compressed(original, shape, head=len(head), frame_lengths=[len(frame) for frame in frames], tail=len(tail))
    return b"".join([head, *frames, tail]), stored
