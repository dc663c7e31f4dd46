"""Starts the process of the services AE, starts it again when it ended, and passes its hints on."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable

from edge_agent.adapters.receivers import RESTART_SECONDS, STOP_SECONDS
from edge_agent.settings import Settings
from imaging_common.errors import NotReady
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)


class ServicesProcess:
    """The services AE of an agent; without a `services_port` there is none, and `run` waits for its end.

    Parameters
    ----------
    listener
        Bound to `services_port`; None: the services are off.
    tls_listener
        Bound to `services_tls_port`; None: TLS is not spoken on a port of its own.
    on_hint
        Called with the Study Instance UID of each instance availability notice, on the event loop.
    """

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket | None,
        on_hint: Callable[[str], None],
        tls_listener: socket.socket | None = None,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._tls_listener = tls_listener
        self._on_hint = on_hint
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._hint_read, self._hint_write = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._hint_read.setblocking(False)

    async def run(self) -> None:
        """Keep it running until cancelled."""
        if self._listener is None:
            await asyncio.Event().wait()
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._hint_read, self._hinted)
        try:
            while True:
                self._process = await self._start(self._listener)
                code = await self._process.wait()
                self._ready.clear()
                _log.error("services-ended", code=code)
                await asyncio.sleep(RESTART_SECONDS)
        finally:
            loop.remove_reader(self._hint_read)
            await self._stop()

    async def check(self) -> None:
        """Raise unless it runs.

        Raises
        ------
        NotReady
            It does not.
        """
        if self._listener is not None and not self._ready.is_set():
            raise NotReady("the process of the services AE is not running")

    def close(self) -> None:
        """Give the port back."""
        self._hint_read.close()
        self._hint_write.close()
        for listener in (self._listener, self._tls_listener):
            if listener is not None:
                listener.close()

    def _hinted(self) -> None:
        try:
            while data := self._hint_read.recv(256):
                self._ready.set()
                if data != b"\0":
                    self._on_hint(data.decode("ascii", "replace"))
        except BlockingIOError:
            return

    async def _start(self, listener: socket.socket) -> asyncio.subprocess.Process:
        descriptors = [listener.fileno(), self._hint_write.fileno()]
        if self._tls_listener is not None:
            descriptors.append(self._tls_listener.fileno())
        secret = self._settings.oidc_client_secret.get_secret_value()
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "edge_agent.services", *map(str, descriptors)),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=descriptors,
            env={**os.environ, **self._settings.environment(), "EDGE_AGENT_OIDC_CLIENT_SECRET": secret},
        )

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
