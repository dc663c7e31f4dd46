"""`Press` in a process of its own: printing takes a second of a processor, and the event loop has none to give.

The child reads pages (length, JSON) from its standard input and writes PDFs (length, bytes); a length of 0 is a
failure. It ends when its parent does, however that ends: then its input ends.
"""

import asyncio
import contextlib
import os
import struct
import sys
from typing import BinaryIO

from consult.reports.errors import SourceUnavailable
from consult.reports.model import Page

PRINT_SECONDS = 120.0
NICENESS = 5
"""People's clicks go before it."""
_LENGTH = struct.Struct(">Q")


class ChildPress:
    """One child, started when it is first needed, and again when it has died; one page at a time."""

    def __init__(self) -> None:
        self._child: asyncio.subprocess.Process | None = None
        self._gate = asyncio.Lock()

    async def print(self, page: Page) -> bytes:
        """See `Press.print`; `SourceUnavailable` when it cannot be printed now."""
        async with self._gate:
            try:
                async with asyncio.timeout(PRINT_SECONDS):
                    pdf = await self._print(page.model_dump_json().encode())
            except BaseException as error:
                await self._end()
                if isinstance(error, OSError | TimeoutError | EOFError):
                    raise SourceUnavailable("the report cannot be printed now") from error
                raise
        if not pdf:
            raise SourceUnavailable("the report cannot be printed")
        return pdf

    async def close(self) -> None:
        """End the child."""
        async with self._gate:
            await self._end()

    async def _print(self, page: bytes) -> bytes:
        child = self._child
        if child is None or child.returncode is not None:
            child = self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(_LENGTH.pack(len(page)) + page)
        await child.stdin.drain()
        (length,) = _LENGTH.unpack(await child.stdout.readexactly(_LENGTH.size))
        return await child.stdout.readexactly(length)

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is None or child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def serve(pages: BinaryIO, pdfs: BinaryIO) -> None:
    """The child: print until the input ends."""
    from consult.reports.printing import print_report  # It takes half a second, and the service itself never needs it.

    while len(head := pages.read(_LENGTH.size)) == _LENGTH.size:
        try:
            pdf = print_report(Page.model_validate_json(pages.read(_LENGTH.unpack(head)[0])))
        except Exception as error:
            print(f"the report cannot be printed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            pdf = b""
        pdfs.write(_LENGTH.pack(len(pdf)) + pdf)
        pdfs.flush()


if __name__ == "__main__":
    os.nice(NICENESS)
    serve(sys.stdin.buffer, sys.stdout.buffer)
