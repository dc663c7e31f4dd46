"""HTJ2K without loss (1.2.840.10008.1.2.4.202) and back: an entry's frames become the bytes that were received."""

from typing import Any, Protocol

import imagecodecs
import numpy as np

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


def encode_frame(
    native: bytes | memoryview, *, rows: int, columns: int, samples: int, bits: int, signed: bool, big_endian: bool
) -> bytes:
    """One native frame as HTJ2K, RPCL with TLM, reversible; colour goes through the reversible transform.

    Parameters
    ----------
    native
        rows x columns x samples values of 8 or 16 bits, interleaved by pixel.
    """
    kind = np.dtype(f"{'>' if big_endian else '<'}{'i' if signed else 'u'}{bits // 8}")
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    array = np.frombuffer(native, kind).reshape(shape).astype(kind.newbyteorder("="), copy=False)
    return bytes(imagecodecs.htj2k_encode(np.ascontiguousarray(array), reversible=True, tlm=True))


def decode_frame(encoded: bytes, pixels: NativePixels) -> bytes:
    """The native bytes of one frame, as they were received."""
    array = np.asarray(imagecodecs.htj2k_decode(encoded))
    native = (array.byteswap() if pixels.swapped else array).tobytes()
    if len(native) != pixels.native_frame_length:
        raise ValueError(f"a frame has {len(native)} bytes, not {pixels.native_frame_length}")
    return native


def rebuild(entry: memoryview, offset: int, pixels: Any) -> bytes:
    """A file from its pack entry.

    Parameters
    ----------
    entry
        The entry's bytes.
    offset
        Where the entry starts in its data object; frames count from the object's start.
    pixels
        `StoredInstance` or `Location` of the entry.
    """
    if pixels.encoding == "original":
        return bytes(entry)
    pieces = [bytes(entry[: pixels.head_length])]
    for ((start, length),) in pixels.frames:
        pieces.append(decode_frame(bytes(entry[start - offset : start - offset + length]), pixels))
    if pixels.tail_length:
        pieces.append(bytes(entry[-pixels.tail_length :]))
    return b"".join(pieces)
