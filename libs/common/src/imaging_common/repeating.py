"""A task that does one thing again and again, for as long as the service runs."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog
from prometheus_client import Counter

_log = structlog.get_logger(__name__)
GRACE_SECONDS = 5.0
FAILED = Counter("imaging_rounds_failed", "Steps of periodic work that failed and come again", ["round"])


class Repeating:
    """Does `step`, pauses, does it again.

    Whatever goes wrong is counted and logged by its kind, and the next step comes all the same: a loop that ended at
    its first surprise would leave everything after it undone, and nobody would see it.

    Parameters
    ----------
    name
        What the log and the metric `imaging_rounds_failed_total` call it.
    step
        One that gives True has more to do: the next comes at once.
    pause_seconds
        Between the end of a step and the next one.
    grace_seconds
        How long the end of the loop waits for the step that is under way.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[object]],
        pause_seconds: float,
        *,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._name = name
        self._step = step
        self._pause_seconds = pause_seconds
        self._grace_seconds = grace_seconds
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._ending.clear()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End after the step that is under way; one that takes longer than the grace is cut off, and must bear that.

        What is cut off while a database answers may hold a claim that nobody here knows of, until its lease is over.
        """
        if self._task is None:
            return
        self._ending.set()
        _, unfinished = await asyncio.wait({self._task}, timeout=self._grace_seconds)
        if unfinished:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._task = None

    async def _run(self) -> None:
        while not self._ending.is_set():
            more: object = None
            try:
                more = await self._step()
            except Exception as error:
                FAILED.labels(self._name).inc()
                _log.exception("step-failed", task=self._name, error=type(error).__name__)
            if more is not True:
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._pause_seconds):
                await self._ending.wait()
        except TimeoutError:
            return


async def stop_all(loops: Iterable[Repeating]) -> None:
    """End several at the same time."""
    await asyncio.gather(*(loop.stop() for loop in loops))
