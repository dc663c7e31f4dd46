"""The parts of a multipart/related answer (RFC 2387) as files, one by one while it arrives; flat memory."""

from collections.abc import Iterable, Iterator
from itertools import count
from os import getpid
from pathlib import Path
from typing import IO

from python_multipart.multipart import MultipartParser, parse_options_header

_numbers = count()


def boundary_of(content_type: str) -> bytes:
    """The boundary of a `multipart/related` answer; ValueError: it is something else."""
    kind, options = parse_options_header(content_type)
    boundary: bytes = options.get(b"boundary", b"")
    if kind != b"multipart/related" or not boundary:
        raise ValueError("the answer is not multipart/related")
    return boundary


def files_of(chunks: Iterable[bytes], boundary: bytes, folder: Path) -> Iterator[Path]:
    """Write each part to a file of its own, yielded when it is complete and then the caller's to delete."""
    writer = _Writer(folder)
    parser = MultipartParser(
        boundary,
        {"on_part_begin": writer.begin, "on_part_data": writer.data, "on_part_end": writer.end},
    )
    try:
        for chunk in chunks:
            parser.write(chunk)
            yield from writer.take()
        parser.finalize()
    finally:
        writer.drop()


class _Writer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._file: IO[bytes] | None = None
        self._complete: list[Path] = []

    def begin(self) -> None:
        self._path = self._folder / f"{getpid()}-{next(_numbers)}.dcm"
        self._file = self._path.open("xb")

    def data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None
        self._file.write(memoryview(data)[start:end])

    def end(self) -> None:
        assert self._file is not None
        assert self._path is not None
        self._file.close()
        self._complete.append(self._path)
        self._file = self._path = None

    def take(self) -> Iterator[Path]:
        while self._complete:
            yield self._complete.pop(0)

    def drop(self) -> None:
        """Delete what nobody took."""
        if self._file is not None:
            self._file.close()
        for path in (*self._complete, *([self._path] if self._path else [])):
            path.unlink(missing_ok=True)
