"""A process that decodes foreign compressed pixels, because native decoders abort on some damaged images.

Reads requests from standard input and answers on standard output until the input ends: a JSON line, then as many bytes
as its `length` says.
"""

import json
import os
import resource
import sys
from typing import Any, BinaryIO

import numpy as np
from pydicom.pixels import pixel_array

from gateway.dicomweb.pixels import Array, CannotDecode, frame_array, read_dataset

MEMORY_BYTES = 6 * 1024**3


def decode(request: dict[str, Any], data: bytes) -> Array:
    """The array that a request asks for: of one encoded frame, or of a frame (`index`, from 0) of a whole file."""
    if "index" not in request:
        return frame_array(data, request["syntax"], request["header"])
    try:
        return np.asarray(pixel_array(read_dataset(data), index=request["index"]))
    except Exception as error:
        raise CannotDecode(f"a frame cannot be decoded: {type(error).__name__}") from error


def answer(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there are no more requests."""
    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["length"])
        try:
            array = np.ascontiguousarray(decode(request, data))
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            body = array.tobytes()
            head: dict[str, Any] = {"shape": array.shape, "dtype": array.dtype.str, "length": len(body)}
        except (CannotDecode, MemoryError) as error:
            head, body = {"error": str(error) or "not enough memory", "length": 0}, b""
        answers.write(json.dumps(head).encode() + b"\n" + body)
        answers.flush()


def main() -> None:
    """Keep what decoders print away from the answers, and bound what they may take."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    answer(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
