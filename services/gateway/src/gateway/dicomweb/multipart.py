"""`multipart/related` answers (RFC 2387, PS3.18 §8.6.1.2)."""

from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

from starlette.responses import Response, StreamingResponse


class Multipart:
    """Writes one answer's parts."""

    def __init__(self, media_type: str) -> None:
        self.boundary = uuid4().hex
        self.content_type = f'multipart/related; type="{media_type}"; boundary={self.boundary}'

    def head(self, content_type: str, location: str = "") -> bytes:
        """What stands before a part's bytes."""
        where = f"Content-Location: {location}\r\n" if location else ""
        return f"--{self.boundary}\r\nContent-Type: {content_type}\r\n{where}\r\n".encode()

    @property
    def end(self) -> bytes:
        """What stands after the last part."""
        return f"--{self.boundary}--\r\n".encode()

    def whole(self, parts: list[tuple[str, bytes]], headers: Mapping[str, str]) -> Response:
        """A small answer at once; parts are (content type, bytes)."""
        body = bytearray()
        for content_type, data in parts:
            body += self.head(content_type)
            body += data
            body += b"\r\n"
        body += self.end
        return Response(bytes(body), media_type=self.content_type, headers=dict(headers))

    def stream(self, chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> StreamingResponse:
        """A large answer; `chunks` holds heads, bytes and ends."""
        return StreamingResponse(chunks, media_type=self.content_type, headers=dict(headers))
