"""A multipart/related body (RFC 2046 §5.1) into one file per part, with little in memory."""

import os
from pathlib import Path

from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.errors import PacsRefused

MAX_HEAD_BYTES = 16 << 10


class FilesOfParts:
    """Feed it the body; blocking. `discard` deletes what is not whole."""

    def __init__(self, folder: RetrieveFolder, boundary: bytes) -> None:
        self.ended = False
        self._folder = folder
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")
        """What is not written yet; the first delimiter may stand at the body's very start."""
        self._in_part = False
        self._path: Path | None = None
        self._descriptor = -1
        self._written = 0

    def feed(self, chunk: bytes) -> list[Path]:
        """The files that this chunk completes; their bytes are reserved in the folder.

        Raises
        ------
        PacsRefused
            Not a multipart body.
        RetrieveFolderFull
            No room.
        """
        self._buffer += chunk
        done: list[Path] = []
        while not self.ended:
            at = self._buffer.find(self._delimiter)
            if not self._in_part:
                if at < 0 or not self._begin(at):
                    break
                continue
            if at < 0:
                keep = len(self._delimiter) - 1
                self._write(len(self._buffer) - keep)
                break
            if len(self._buffer) < at + len(self._delimiter) + 2:
                self._write(at)
                break
            self._write(at)
            done.append(self._end_file())
            self._in_part = False
        return done

    def discard(self) -> None:
        """Delete the file that is not whole."""
        if self._path is not None:
            os.close(self._descriptor)
            self._path.unlink(missing_ok=True)
            self._folder.release(self._written)
            self._path = None

    def _begin(self, at: int) -> bool:
        """Read a delimiter and a part's head; False: more is needed."""
        after = at + len(self._delimiter)
        if len(self._buffer) < after + 2:
            return False
        if self._buffer[after : after + 2] == b"--":
            self.ended = True
            return True
        end = self._buffer.find(b"\r\n\r\n", after)
        if end < 0:
            if len(self._buffer) - after > MAX_HEAD_BYTES:
                raise PacsRefused("a part of the PACS's answer has no head")
            return False
        del self._buffer[: end + 4]
        self._in_part = True
        self._path, self._written = self._folder.new_path(), 0
        self._descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        return True

    def _write(self, size: int) -> None:
        if size <= 0:
            return
        with memoryview(self._buffer) as view, view[:size] as part:
            self._folder.write(self._descriptor, part)
        self._written += size
        del self._buffer[:size]

    def _end_file(self) -> Path:
        assert self._path is not None
        os.close(self._descriptor)
        path, self._path = self._path, None
        return path
