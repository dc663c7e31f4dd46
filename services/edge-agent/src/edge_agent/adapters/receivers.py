"""Starts the receiving processes, starts one again that ended, and passes their wake-up calls on."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable

from edge_agent.settings import Settings
from imaging_common.errors import NotReady
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
RESTART_SECONDS = 0.5
STOP_SECONDS = 8.0


class Receivers:
    """The receiving processes of an agent, on one shared listening socket: who is idle accepts."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        on_news: Callable[[], None],
        tls_listener: socket.socket | None = None,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._tls_listener = tls_listener
        self._on_news = on_news
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ready = asyncio.Event()
        self._wake_read, self._wake_write = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._wake_read.setblocking(False)

    async def run(self) -> None:
        """Keep them running until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._wake_read, self._woken)
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._settings.receivers):
                    group.create_task(self._keep_running(number))
        finally:
            loop.remove_reader(self._wake_read)
            self._wake_read.close()
            self._wake_write.close()

    async def check(self) -> None:
        """Raise unless all of them run.

        Raises
        ------
        NotReady
            One does not.
        """
        running = [p for p in self._processes.values() if p.returncode is None]
        if not self._ready.is_set() or len(running) < self._settings.receivers:
            raise NotReady("a receiving process is not running")

    @property
    def pids(self) -> list[int]:
        """Their process ids."""
        return [process.pid for process in self._processes.values() if process.returncode is None]

    def _woken(self) -> None:
        try:
            while self._wake_read.recv(64):
                self._ready.set()
        except BlockingIOError:
            self._on_news()

    async def _keep_running(self, number: int) -> None:
        while True:
            process = await self._start(number)
            self._processes[number] = process
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                await self._stop(process)
                raise
            _log.error("receiver-ended", number=number, code=code)
            await asyncio.sleep(RESTART_SECONDS)

    async def _start(self, number: int) -> asyncio.subprocess.Process:
        descriptors = [self._listener.fileno(), self._wake_write.fileno()]
        if self._tls_listener is not None:
            descriptors.append(self._tls_listener.fileno())
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "edge_agent.receiver", str(number), *map(str, descriptors)),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=descriptors,
            env={**os.environ, **self._settings.environment()},
        )

    @staticmethod
    async def _stop(process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
