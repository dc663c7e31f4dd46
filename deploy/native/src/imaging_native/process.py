"""One local process: started in a group of its own, its output in a file, ended for sure."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import httpx

from imaging_native.guard import guard
from imaging_native.ports import free_port

__all__ = ["CENTRE_NICENESS", "LocalProcess", "StartFailed", "free_port", "http_ready", "port_ready"]

CENTRE_NICENESS = 10
"""On one machine a hospital's edge agent (0) goes before the centre, as if it had a machine of its own."""
START_DEADLINE_SECONDS = 300.0
STOP_DEADLINE_SECONDS = 15.0
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class StartFailed(Exception):
    """A process ended or was not ready in time; the text ends with the tail of its log."""


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class LocalProcess:
    """A server or service; `ready` is asked until it no longer raises."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        ready: Callable[[], Awaitable[None]],
        niceness: int = CENTRE_NICENESS,
    ) -> None:
        self.name = name
        self.log_path = folder / f"{name}.log"
        self._command = list(command)
        self.extra_arguments: list[str] = []
        """Added at the next start: for servers that are to misbehave."""
        self.extra_env: dict[str, str] = {}
        """Set at the next start, over what it has: for settings of one test."""
        self._env = dict(env)
        self._folder = folder
        self._ready = ready
        self._niceness = niceness
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._popen.pid if self._popen is not None and self._popen.poll() is None else None

    def launch(self) -> None:
        """Start without waiting."""
        with self.log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                [*self._command, *self.extra_arguments],
                env={**os.environ, **self._env, **self.extra_env},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        guard().watch(self._popen.pid)
        if self._niceness:
            _lower_priority(self._popen.pid, self._niceness)

    async def wait_ready(self) -> None:
        """Wait until it is ready.

        Raises
        ------
        StartFailed
            It ended, or the deadline passed.
        """
        last: Exception | None = None
        try:
            async with asyncio.timeout(START_DEADLINE_SECONDS):
                while True:
                    if self.pid is None:
                        raise StartFailed(f"{self.name} ended while starting:\n{self.log_tail()}")
                    try:
                        await self._ready()
                        return
                    except StartFailed:
                        raise
                    except Exception as error:
                        last = error
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise StartFailed(
                f"{self.name} was not ready after {START_DEADLINE_SECONDS:.0f} s ({last!r}):\n{self.log_tail()}"
            ) from error

    async def start(self) -> None:
        """Start, and wait until it is ready."""
        self.launch()
        await self.wait_ready()

    async def stop(self) -> None:
        """SIGTERM to its group, SIGKILL after a while."""
        if self._popen is None:
            return
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_DEADLINE_SECONDS):
                while self._popen.poll() is None:  # noqa: ASYNC110  (a process has no event to wait for)
                    await asyncio.sleep(0.05)
        self._end()

    def kill(self) -> None:
        """SIGKILL to the whole group, at once."""
        if self._popen is not None:
            self._end()

    def freeze(self) -> None:
        """SIGSTOP to the whole group: it keeps its connections and says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT to the whole group."""
        self._signal(signal.SIGCONT)

    def _end(self) -> None:
        assert self._popen is not None
        self._signal(signal.SIGKILL)
        self._popen.wait(timeout=10)
        guard().forget(self._popen.pid)

    def log_tail(self, characters: int = 3000) -> str:
        """The end of its log."""
        return self.log_path.read_text(errors="replace")[-characters:] if self.log_path.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        if self._popen is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, number)


def _lower_priority(pid: int, niceness: int) -> None:
    """Let others go first: the process and its children, and its session where the kernel groups by sessions."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, pid, niceness)
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def http_ready(url: str) -> Callable[[], Awaitable[None]]:
    """Ready when `url` answers below 400."""

    async def check() -> None:
        async with httpx.AsyncClient(timeout=3) as client:
            answer = await client.get(url)
        if answer.status_code >= 400:
            raise RuntimeError(f"status {answer.status_code}: {answer.text[:300]}")

    return check


def port_ready(port: int) -> Callable[[], Awaitable[None]]:
    """Ready when the port accepts a connection."""

    async def check() -> None:
        _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 2)
        writer.close()

    return check
