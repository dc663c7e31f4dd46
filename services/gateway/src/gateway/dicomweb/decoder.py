"""Decoding off the loop: what this project encoded itself or what is not compressed in a thread, all else in a worker
process whose crash costs one answer."""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from gateway.dicomweb.negotiation import NATIVE
from gateway.dicomweb.pixels import PIXEL_TAGS, Array, CannotDecode, frame_array
from imaging_common.telemetry import get_logger

WORKERS = 2
DEADLINE_SECONDS = 60.0
log = get_logger(__name__)


class Worker:
    """One decoding process, started when it is needed."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, request: dict[str, Any], data: bytes) -> Array:
        """One request.

        Raises
        ------
        CannotDecode
            The decoder refuses, crashes, or takes too long.
        """
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gateway.dicomweb.decode_worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                head, body = await _exchange(self._process, request, data)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, ValueError) as error:
            await self.stop()
            log.warning("decoder crashed", error=type(error).__name__, transfer_syntax=request.get("syntax", ""))
            raise CannotDecode("the decoder crashed on these pixels") from error
        except asyncio.CancelledError:
            await self.stop()
            raise
        if "error" in head:
            raise CannotDecode(str(head["error"]))
        return np.frombuffer(body, np.dtype(head["dtype"])).reshape(head["shape"])

    async def stop(self) -> None:
        """End the process."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _exchange(
    process: asyncio.subprocess.Process, request: dict[str, Any], data: bytes
) -> tuple[dict[str, Any], bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({**request, "length": len(data)}).encode() + b"\n")
    process.stdin.write(data)
    await process.stdin.drain()
    head = json.loads(await process.stdout.readuntil(b"\n"))
    return head, await process.stdout.readexactly(head["length"])


class Decoder:
    """Hands requests to idle workers; who comes when none is idle waits."""

    def __init__(self) -> None:
        self._workers = [Worker() for _ in range(WORKERS)]
        self._idle: asyncio.LifoQueue[Worker] = asyncio.LifoQueue()
        for worker in self._workers:
            self._idle.put_nowait(worker)

    async def frame(self, data: bytes, syntax: str, header: Mapping[str, Any], *, own: bool = False) -> Array:
        """One stored frame as an array; `own` says that this project encoded it."""
        if own or syntax in NATIVE:
            return await asyncio.to_thread(frame_array, data, syntax, header)
        described = {tag: header[tag] for tag in PIXEL_TAGS if tag in header}
        return await self._ask({"syntax": syntax, "header": described}, data)

    async def frame_of_file(self, file: bytes, index: int) -> Array:
        """A frame (from 0) of a whole Part 10 file."""
        return await self._ask({"index": index}, file)

    async def _ask(self, request: dict[str, Any], data: bytes) -> Array:
        worker = await self._idle.get()
        try:
            return await worker.ask(request, data)
        finally:
            self._idle.put_nowait(worker)

    async def stop(self) -> None:
        """End the processes."""
        for worker in self._workers:
            await worker.stop()
