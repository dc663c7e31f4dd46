"""A store request's body (RFC 2387), streamed into files of about a batch each; where its parts lie.

A file is kept in memory as long as it is small: a retrieval's first instances are on the way to somebody's screen.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from email.message import Message
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from python_multipart.multipart import MultipartParser, parse_options_header

from dicom_ingest.errors import BadRequest, ScratchFull
from dicom_ingest.model import Received

MAX_BOUNDARY = 70
MAX_HEADER_BYTES = 4096
DICOM = "application/dicom"


@dataclass(slots=True)
class PartFile:
    """Parts' bodies one after the other, in memory or in the scratch file `path`."""

    path: Path
    parts: list[tuple[int, int]] = field(default_factory=list)
    """(offset, length)."""
    memory: bytes | None = None

    @property
    def content(self) -> Received:
        """What was received."""
        return self.path if self.memory is None else self.memory

    def remove(self) -> None:
        """Free the scratch file."""
        if self.memory is None:
            self.path.unlink()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request, and the size at which a file is full."""

    parts: int
    part_bytes: int
    total_bytes: int
    file_bytes: int
    file_parts: int
    memory_bytes: int
    """Of a file that is not written to disk."""


def boundary_of(content_type: str) -> bytes:
    """The boundary of `multipart/related; type="application/dicom"` (PS3.18 §8.6.1.2).

    Raises
    ------
    BadRequest
        415 for another media type, 400 without a usable boundary.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/related" or options.get(b"type", DICOM.encode()).lower() != DICOM.encode():
        raise BadRequest(415, 'the body must be multipart/related with type="application/dicom" (PS3.18 §10.5.1)')
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise BadRequest(400, "Content-Type has no usable boundary (RFC 2046 §5.1.1)")
    return boundary


class PartReader:
    """Reads a body; flat memory, and on disk no more than a file's size and one part."""

    def __init__(self, boundary: bytes, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._files: list[PartFile] = []
        self._out: _Spool | None = None
        self._position = self._start = 0
        self._count = self._total = 0
        self._header, self._value = b"", b""
        self._complete = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        self._parser = MultipartParser(boundary, callbacks)

    async def read(self, stream: AsyncIterator[bytes]) -> AsyncGenerator[PartFile, None]:
        """Yield each file when it is full, the last one at the end; the caller removes them.

        Raises
        ------
        BadRequest
            The body is malformed, ends early, has no parts, or breaks a bound.
        ScratchFull
            There is no room to keep it.
        """
        try:
            async for chunk in stream:
                self._feed(chunk)
                while len(self._files) > 1:
                    yield self._files.pop(0)
            if not self._complete:
                raise BadRequest(400, "the multipart body ends before its closing boundary")
            if not self._count:
                raise BadRequest(400, "the multipart body has no parts")
            self._close()
            yield self._files.pop(0)
        finally:
            self._close()

    def _feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except ValueError as error:
            raise BadRequest(400, f"the multipart body is malformed: {type(error).__name__}") from error
        except OSError as error:
            raise ScratchFull("what arrives cannot be kept") from error

    def _begin(self) -> None:
        self._count += 1
        if self._count > self._limits.parts:
            raise BadRequest(413, f"a request holds at most {self._limits.parts} instances")
        full = self._position >= self._limits.file_bytes or (
            self._files and len(self._files[-1].parts) >= self._limits.file_parts
        )
        if self._out is None or full:
            self._close()
            path = self._folder / f"{self._count}.parts"
            self._files.append(PartFile(path))
            self._out = _Spool(path, self._limits.memory_bytes)
            self._position = 0
        self._start = self._position

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header + data[start:end])[:MAX_HEADER_BYTES]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value = (self._value + data[start:end])[:MAX_HEADER_BYTES]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-type":
            header = Message()
            header["Content-Type"] = self._value.decode("latin-1")
            if header.get_content_type() != DICOM:
                raise BadRequest(415, "every part must be application/dicom (PS3.18 §10.5.1)")
        self._header = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        assert self._out is not None
        self._position += end - start
        self._total += end - start
        if self._position - self._start > self._limits.part_bytes or self._total > self._limits.total_bytes:
            raise BadRequest(413, "an instance or the request is larger than this service takes")
        self._out.write(memoryview(data)[start:end])

    def _end(self) -> None:
        self._files[-1].parts.append((self._start, self._position - self._start))

    def _finish(self) -> None:
        self._complete = True

    def _close(self) -> None:
        if self._out is not None:
            memory = self._out.close()
            if self._files:
                self._files[-1].memory = memory
            self._out = None


class _Spool:
    """Bytes in memory, moved to a file when they outgrow it."""

    def __init__(self, path: Path, memory_bytes: int) -> None:
        self._path = path
        self._left = memory_bytes
        self._memory = BytesIO()
        self._file: IO[bytes] | None = None

    def write(self, data: memoryview) -> None:
        """Add bytes."""
        self._left -= len(data)
        if self._file is None and self._left < 0:
            self._file = self._path.open("wb")
            self._file.write(self._memory.getbuffer())
        (self._memory if self._file is None else self._file).write(data)

    def close(self) -> bytes | None:
        """The bytes where they are in memory, None where they are in the file."""
        if self._file is None:
            return self._memory.getvalue()
        self._file.close()
        return None
