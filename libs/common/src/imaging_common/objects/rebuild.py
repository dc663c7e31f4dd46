"""HTJ2K without loss (1.2.840.10008.1.2.4.202) and back: an entry's frames become the bytes that were received."""

import asyncio
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import imagecodecs
import numpy as np

from imaging_common.objects.ports import ObjectStore

HTJ2K_RPCL = "1.2.840.10008.1.2.4.202"


class NativePixels(Protocol):
    """What says how decoded samples lie in the file: a `StoredInstance` or an index `Location`."""

    @property
    def native_frame_length(self) -> int | None:
        """Bytes of one native frame."""
        ...

    @property
    def swapped(self) -> bool:
        """The samples were big endian."""
        ...


class Entry(NativePixels, Protocol):
    """An instance within a data object: a `StoredInstance` or an index `Location`."""

    @property
    def encoding(self) -> Literal["original", "htj2k"]:
        """Whether the entry is the file as received."""
        ...

    @property
    def offset(self) -> int:
        """Where the entry starts."""
        ...

    @property
    def length(self) -> int:
        """Bytes of the entry."""
        ...

    @property
    def frames(self) -> list[list[tuple[int, int]]]:
        """Per frame its ranges in the data object."""
        ...

    @property
    def head_length(self) -> int:
        """Bytes before the first frame."""
        ...

    @property
    def tail_length(self) -> int:
        """Bytes after the last frame."""
        ...


def encode_frame(
    native: bytes | memoryview, *, rows: int, columns: int, samples: int, bits: int, signed: bool, big_endian: bool
) -> bytes:
    """One native frame as HTJ2K, RPCL with TLM, reversible.

    Three samples go through the reversible colour transform (RCT), which every decoder undoes: the samples that come
    back are those that went in, whatever the Photometric Interpretation.

    Parameters
    ----------
    native
        rows x columns x samples values of 8 or 16 bits, interleaved by pixel.
    """
    kind = np.dtype(f"{'>' if big_endian else '<'}{'i' if signed else 'u'}{bits // 8}")
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    array: Any = np.frombuffer(native, kind).reshape(shape).astype(kind.newbyteorder("="), copy=False)
    return bytes(imagecodecs.htj2k_encode(np.ascontiguousarray(array), reversible=True, tlm=True))


def decode_frame(encoded: bytes, pixels: NativePixels) -> bytes:
    """The native bytes of one frame, as they were received.

    Raises
    ------
    ValueError
        The frame is damaged.
    """
    try:
        array = np.asarray(imagecodecs.htj2k_decode(encoded))
    except RuntimeError as error:
        raise ValueError(f"a frame does not decode: {type(error).__name__}") from error
    native = (array.byteswap() if pixels.swapped else array).tobytes()
    if len(native) != pixels.native_frame_length:
        raise ValueError(f"a frame has {len(native)} bytes, not {pixels.native_frame_length}")
    return native


def rebuild_pieces(entry: memoryview, offset: int, pixels: Entry) -> Iterator[bytes | memoryview]:
    """The file of a pack entry, frame by frame.

    Parameters
    ----------
    entry
        The entry's bytes.
    offset
        Where the entry starts in its data object; frames count from the object's start.

    Raises
    ------
    ValueError
        A frame is damaged.
    """
    if pixels.encoding == "original":
        yield entry
        return
    yield entry[: pixels.head_length]
    for ((start, length),) in pixels.frames:
        yield decode_frame(bytes(entry[start - offset : start - offset + length]), pixels)
    yield entry[len(entry) - pixels.tail_length :]


def rebuild(entry: memoryview, offset: int, pixels: Entry) -> bytes:
    """The file of a pack entry; see `rebuild_pieces`."""
    return b"".join(rebuild_pieces(entry, offset, pixels))


async def rebuild_instance(store: ObjectStore, bucket: str, key: str, place: Entry) -> bytes:
    """The file as it was received, whole; `place` says where it lies in the data object `key`.

    Raises
    ------
    ValueError
        A frame is damaged.
    """
    entry = await store.get_range(bucket, key, place.offset, place.length)
    return await asyncio.to_thread(rebuild, memoryview(entry), place.offset, place)
