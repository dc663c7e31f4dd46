"""Makes the outputs of issued versions: claims a task for a while, takes it stage by stage, tries again what failed."""

import asyncio
from datetime import timedelta

from consult.ports import Clock
from consult.reports.making import Making
from consult.reports.model import OutputsTask, Stage
from consult.reports.ports import LeaseLost, ReportBook
from imaging_common.repeating import Repeating
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
POLL_SECONDS = 1.0
LEASE = timedelta(minutes=5)
"""A copy that dies holds its task so long."""
GRACE_SECONDS = 10.0
"""As long as a report mostly takes."""
LONGEST_DELAY_SECONDS = 300
TOLD_AFTER = 4
"""So many failures in a row are told to the case's people; a restart is none of their business."""


class Worker:
    """One per copy of the service; a task is worked at by one of them."""

    def __init__(self, book: ReportBook, making: Making, clock: Clock) -> None:
        self._book = book
        self._making = making
        self._clock = clock
        self._loop = Repeating("report-outputs", self.step, POLL_SECONDS, grace_seconds=GRACE_SECONDS)

    async def start(self) -> None:
        """Work until `stop`."""
        await self._loop.start()

    async def stop(self) -> None:
        """Finish what is under way if it does not take long; else leave it to the next copy."""
        await self._loop.stop()

    async def step(self) -> bool:
        """One task, as far as it goes now; False: none is due."""
        now = self._clock()
        task = await self._book.claim(now, now + LEASE)
        if task is None:
            return False
        try:
            async with asyncio.timeout(LEASE.total_seconds() - 30):
                while task.stage is not Stage.DONE:
                    task = await self._making.step(task, self._clock())
        except asyncio.CancelledError:
            await self._hand_back(task)
            raise
        except LeaseLost:
            _log.warning("report-outputs-taken-over", consult_id=task.consult_id, version=task.version)
        except Exception as error:
            _log.warning(
                "report-outputs-failed", consult_id=task.consult_id, version=task.version, stage=task.stage,
                attempts=task.attempts + 1, error=type(error).__name__, exc_info=error,
            )  # fmt: skip
            await self._postpone(task, error)
        return True

    async def _hand_back(self, task: OutputsTask) -> None:
        """This copy ends: the next one need not wait for the lease."""
        try:
            await self._making.keep(task.model_copy(update={"due_at": self._clock()}), task.due_at)
        except LeaseLost:
            return

    async def _postpone(self, task: OutputsTask, error: Exception) -> None:
        attempts, text = task.attempts + 1, str(error) or type(error).__name__
        told = text if attempts >= TOLD_AFTER else task.outputs.failure
        update = {
            "attempts": attempts,
            "failure": text,
            "due_at": self._clock() + delay_after(attempts),
            "outputs": task.outputs.model_copy(update={"failure": told}),
        }
        try:
            await self._making.keep(task.model_copy(update=update), task.due_at)
        except LeaseLost:
            return


def delay_after(attempts: int) -> timedelta:
    """How long to wait after so many failures in a row.

    >>> [delay_after(n).total_seconds() for n in (1, 2, 5, 40)]
    [2.0, 4.0, 32.0, 300.0]
    """
    return timedelta(seconds=min(2 ** min(attempts, 20), LONGEST_DELAY_SECONDS))
