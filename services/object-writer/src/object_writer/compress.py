"""Entries of a pack: compressed without losing a byte, proven by rebuilding them. Slow: runs in a process pool.

What enters and what leaves are files, so that neither a process nor a queue ever holds a large instance.
"""

import ctypes
import hashlib
import mmap
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imaging_common.objects.model import StoredInstance
from imaging_common.objects.rebuild import HTJ2K_RPCL, decode_frame, encode_frame, rebuild_pieces
from object_writer.model import PixelShape, moved

NICENESS = 10
PR_SET_PDEATHSIG = 1
COPY_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Work:
    """One entry to be packed."""

    instance: StoredInstance
    """As it lies now; its header may be left out."""
    at: int
    """Where its bytes start in the file that is given."""
    shape: PixelShape | None
    """None: the entry is taken over as it is."""


def prepare_process() -> None:
    """Let receiving and viewing go first, and end with the service, however that ends (Linux)."""
    os.nice(NICENESS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def pack_entries(source: Path, target: Path, work: list[Work]) -> list[StoredInstance | None]:
    """Write the entries one after the other into `target`.

    Returns
    -------
    list
        Per entry how it lies in `target`; None when the bytes do not give the file with the SHA-256 that was received.
        Whatever does not come back from HTJ2K byte for byte, or does not get smaller, stays as it came.
    """
    with source.open("rb") as file, target.open("wb") as out:
        size = os.fstat(file.fileno()).st_size
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
        return [_pack(data[one.at : one.at + one.instance.length], one, out) for one in work]


def _pack(entry: memoryview, work: Work, out: BinaryIO) -> StoredInstance | None:
    if not _is_sound(entry, work.instance):
        return None
    start = out.tell()
    if work.shape is not None:
        stored = _compress(entry, work.instance, work.shape, out, start)
        if stored is not None:
            return stored
        out.seek(start)
        out.truncate()
    for at in range(0, len(entry), COPY_BYTES):
        out.write(entry[at : at + COPY_BYTES])
    return moved(work.instance, start)


def _is_sound(entry: memoryview, instance: StoredInstance) -> bool:
    """Whether the entry gives the file that was received."""
    digest = hashlib.sha256()
    try:
        for piece in rebuild_pieces(entry, instance.offset, instance):
            digest.update(piece)
    except ValueError:
        return False
    return digest.hexdigest() == instance.sha256


def _compress(
    file: memoryview, instance: StoredInstance, shape: PixelShape, out: BinaryIO, start: int
) -> StoredInstance | None:
    """Head, frames as HTJ2K, tail; each frame is decoded again at once. None when the file does not come back."""
    first = instance.frames[0][0][0] - instance.offset
    last = sum(instance.frames[-1][0]) - instance.offset
    head, tail = file[:first], file[last:]
    stored = instance.model_copy(
        update={
            "encoding": "htj2k",
            "frame_transfer_syntax_uid": HTJ2K_RPCL,
            "native_frame_length": shape.frame_length,
            "head_length": len(head),
            "tail_length": len(tail),
            "swapped": shape.big_endian,
            "signed": shape.signed,
        }
    )
    rebuilt = hashlib.sha256(head)
    out.write(head)
    frames = []
    for ((at, length),) in instance.frames:
        native = file[at - instance.offset : at - instance.offset + length]
        try:
            encoded = _encode(native, shape)
            rebuilt.update(decode_frame(encoded, stored))
        except (ValueError, RuntimeError):  # the codec does not take these pixels
            return None
        frames.append([(out.tell(), len(encoded))])
        out.write(encoded)
        if out.tell() - start >= len(file):
            return None
    out.write(tail)
    rebuilt.update(tail)
    if rebuilt.hexdigest() != instance.sha256 or out.tell() - start >= len(file):
        return None
    return stored.model_copy(update={"offset": start, "length": out.tell() - start, "frames": frames})


def _encode(native: memoryview, shape: PixelShape) -> bytes:
    return encode_frame(
        native,
        rows=shape.rows,
        columns=shape.columns,
        samples=shape.samples,
        bits=shape.bits,
        signed=shape.signed,
        big_endian=shape.big_endian,
    )
