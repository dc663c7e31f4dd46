"""Static files, pre-compressed: a folder is listed once, each file is compressed once, when it is first asked for.

Only listed names are served, so a path never reaches the file system.
"""

import asyncio
import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path

import brotli  # type: ignore[import-untyped]
from starlette.datastructures import Headers
from starlette.responses import Response

HASHED = re.compile(r"(^|[.-])[0-9a-f]{16,}\.")
COMPRESSIBLE = frozenset({".js", ".mjs", ".css", ".html", ".json", ".svg", ".wasm", ".txt", ".map"})
BROTLI_QUALITY = 6
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
CONTAINS_DECODER = "x-contains-decoder"
"""Marks OHIF's decode worker for the guard, which turns it into that file's own CSP."""
mimetypes.add_type("application/wasm", ".wasm")
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("font/woff2", ".woff2")


@dataclass(frozen=True, slots=True)
class Body:
    """A file as it goes out, in one encoding."""

    data: bytes
    encoding: str | None
    etag: str
    contains_decoder: bool


class FileTree:
    """The files of one folder. `<file>.br` and `<file>.gz` beside a file are taken where they are."""

    def __init__(self, root: Path) -> None:
        self._files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
        self._bodies: dict[tuple[str, str], asyncio.Task[Body]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def fingerprint(self, name: str) -> str:
        """A short digest of a file's content, for addresses that may be kept for ever."""
        return hashlib.sha256(self._files[name].read_bytes()).hexdigest()[:12]

    async def body(self, name: str, accept_encoding: str) -> Body:
        """A file's content in the best encoding the asker takes.

        Raises
        ------
        KeyError
            There is no such file.
        """
        path = self._files[name]
        encoding = _best(accept_encoding) if path.suffix in COMPRESSIBLE else ""
        key = (name, encoding)
        if key not in self._bodies:
            self._bodies[key] = asyncio.create_task(asyncio.to_thread(_load, path, encoding))
        return await asyncio.shield(self._bodies[key])

    async def respond(self, name: str, headers: Headers, *, immutable: bool = False) -> Response:
        """The file as an answer, or 304; hashed names may be kept for ever, others are asked for again."""
        body = await self.body(name, headers.get("accept-encoding", ""))
        answer = {
            "ETag": body.etag,
            "Vary": "Accept-Encoding",
            "Cache-Control": IMMUTABLE if immutable or HASHED.search(name) else REVALIDATE,
        }
        if body.contains_decoder:
            answer[CONTAINS_DECODER] = "1"
        if headers.get("if-none-match") == body.etag:
            return Response(status_code=304, headers=answer)
        if body.encoding:
            answer["Content-Encoding"] = body.encoding
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(body.data, headers=answer, media_type=media_type)


def _best(accept_encoding: str) -> str:
    taken = {part.split(";")[0].strip() for part in accept_encoding.split(",") if not part.strip().endswith("q=0")}
    return "br" if "br" in taken else "gzip" if "gzip" in taken else ""


def _load(path: Path, encoding: str) -> Body:
    raw = path.read_bytes()
    tag = hashlib.sha256(raw).hexdigest()[:20]
    decoder = path.suffix == ".js" and not path.name.startswith("app.") and b"decodeImageFrameWorker" in raw
    ready = path.with_name(f"{path.name}.{'gz' if encoding == 'gzip' else encoding}")
    if not encoding:
        return Body(raw, None, f'"{tag}"', decoder)
    if ready.is_file():
        data = ready.read_bytes()
    elif encoding == "br":
        data = brotli.compress(raw, quality=BROTLI_QUALITY)
    else:
        data = gzip.compress(raw, 6, mtime=0)
    return Body(data, encoding, f'"{tag}-{encoding}"', decoder)
