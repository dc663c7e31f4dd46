"""A task that does one thing again and again, for as long as the service runs."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger(__name__)


class Repeating:
    """Does `step`, pauses, does it again. Whatever goes wrong is logged by its kind, and the next step comes all the
    same: a loop that ended at its first surprise would leave everything after it undone, and nobody would see it.

    Parameters
    ----------
    name
        What the log calls it.
    pause_seconds
        Between the end of a step and the next one.
    """

    def __init__(self, name: str, step: Callable[[], Awaitable[object]], pause_seconds: float) -> None:
        self._name = name
        self._step = step
        self._pause_seconds = pause_seconds
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, in the middle of a step, too: what a step does must bear that."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self._step()
            except Exception as error:
                _log.exception("step-failed", task=self._name, error=type(error).__name__)
            await asyncio.sleep(self._pause_seconds)
