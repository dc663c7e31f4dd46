"""A store request's body (RFC 2387), streamed into one scratch file; where each part lies in it."""

from collections.abc import AsyncIterator
from email.message import Message
from typing import IO, Any

from python_multipart.multipart import MultipartParser, parse_options_header

from dicom_ingest.errors import BadRequest

MAX_BOUNDARY = 70
MAX_HEADER_BYTES = 4096


def boundary_of(content_type: str) -> bytes:
    """The boundary of `multipart/related; type="application/dicom"`.

    Raises
    ------
    BadRequest
        415 for another media type, 400 without a usable boundary.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/related" or options.get(b"type", b"").lower() != b"application/dicom":
        raise BadRequest(415, 'the body must be multipart/related with type="application/dicom" (PS3.18 §10.5.1)')
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise BadRequest(400, "Content-Type has no usable boundary (RFC 2046 §5.1.1)")
    return boundary


class PartCollector:
    """Writes the parts' bodies one after the other into `file`; `parts` are their (offset, length)."""

    def __init__(self, boundary: bytes, file: IO[bytes], *, max_parts: int, max_part: int, max_total: int) -> None:
        self.parts: list[tuple[int, int]] = []
        self._file = file
        self._max_parts, self._max_part, self._max_total = max_parts, max_part, max_total
        self._position = 0
        self._start = 0
        self._header = b""
        self._value = b""
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

    async def read(self, stream: AsyncIterator[bytes]) -> None:
        """Read the whole body.

        Raises
        ------
        BadRequest
            It is malformed, ends early, or breaks a bound.
        """
        try:
            async for chunk in stream:
                self._parser.write(chunk)
        except ValueError as error:
            raise BadRequest(400, f"the multipart body is malformed: {type(error).__name__}") from error
        if not self._complete:
            raise BadRequest(400, "the multipart body ends before its closing boundary")
        if not self.parts:
            raise BadRequest(400, "the multipart body has no parts")
        self._file.flush()

    def _begin(self) -> None:
        if len(self.parts) >= self._max_parts:
            raise BadRequest(413, f"a request holds at most {self._max_parts} instances")
        self._start = self._position

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header + data[start:end])[:MAX_HEADER_BYTES]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value = (self._value + data[start:end])[:MAX_HEADER_BYTES]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-type":
            header = Message()
            header["Content-Type"] = self._value.decode("latin-1")
            if header.get_content_type() != "application/dicom":
                raise BadRequest(415, "every part must be application/dicom (PS3.18 §10.5.1)")
        self._header = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._position += end - start
        if self._position - self._start > self._max_part or self._position > self._max_total:
            raise BadRequest(413, "an instance or the request is larger than this service takes")
        self._file.write(memoryview(data)[start:end])

    def _end(self) -> None:
        self.parts.append((self._start, self._position - self._start))

    def _finish(self) -> None:
        self._complete = True
