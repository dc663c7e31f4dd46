"""Writes a consult's report back into the hospital's PACS, tries again until the deadline, and always answers."""

import asyncio
import time
from collections.abc import Callable

from edge_agent.errors import PacsRefused, PacsUnreachable, RegionRefused, RegionUnavailable
from edge_agent.ports import CentreObjects, PacsStore, WriteBackLog
from edge_agent.writebacks import FetchedObject, WriteBack, delay_after, is_taken
from imaging_common.events import ReportWriteBackRequested
from imaging_common.events.edge import WriteBackReason
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
POLL_SECONDS = 10.0


class ReportWriteBack:
    """One per agent; one write-back at a time.

    Parameters
    ----------
    target
        None: the hospital has neither a PACS nor anything else that takes reports.
    on_event
        Told when the outbox has something.
    """

    def __init__(
        self,
        log: WriteBackLog,
        centre: CentreObjects | None,
        target: PacsStore | None,
        on_event: Callable[[], None],
    ) -> None:
        self._log = log
        self._centre = centre
        self._target = target
        self._on_event = on_event
        self._news = asyncio.Event()

    async def request(self, request: ReportWriteBackRequested) -> None:
        """Keep a command durably; it is carried out in the background."""
        await asyncio.to_thread(self._log.take, request)
        self._news.set()
        self._on_event()

    def states(self) -> dict[str, int]:
        """How many write-backs are in which state. Blocking."""
        return self._log.states()

    async def run(self) -> None:
        """Write back until cancelled."""
        while True:
            self._news.clear()
            try:
                while await self.step(time.time()):
                    continue
                wait = await self._wait()
            except Exception as error:
                _log.error("write-back-failed", error=type(error).__name__, exc_info=error)
                wait = POLL_SECONDS
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def step(self, now: float) -> bool:
        """Carry out what is due; False: nothing is."""
        one = await asyncio.to_thread(self._log.due, now)
        if one is None:
            return False
        reason = await self._try(one, now)
        if reason == "":
            await self._finish(one, "")
        elif reason == "no-pacs" or now >= one.deadline:
            await self._finish(one, reason)
        else:
            later = min(now + delay_after(one.tries + 1), one.deadline)
            _log.warning("write-back-postponed", consult_id=one.consult_id, reason=reason, tries=one.tries + 1)
            await asyncio.to_thread(self._log.postpone, one.write_back_id, reason, later)
        return True

    async def _wait(self) -> float:
        at = await asyncio.to_thread(self._log.next_at)
        return POLL_SECONDS if at is None else min(POLL_SECONDS, max(0.05, at - time.time()))

    async def _finish(self, one: WriteBack, reason: WriteBackReason) -> None:
        await asyncio.to_thread(self._log.finish, one.write_back_id, reason)
        self._on_event()
        _log.info("write-back-ended", consult_id=one.consult_id, reason=reason, tries=one.tries)

    async def _try(self, one: WriteBack, now: float) -> WriteBackReason:
        """Why it did not succeed; empty: the PACS has everything."""
        if not one.missing:
            return ""
        if self._target is None:
            return "no-pacs"
        if now >= one.deadline:
            return one.reason or "deadline"
        if self._centre is None:
            return "centre-unreachable"
        files: list[FetchedObject] = []
        try:
            for wanted in one.missing:
                files.append(await self._centre.fetch(one.holder, one.study_uid, wanted))
            answers = await self._target.store(files)
        except (RegionUnavailable, RegionRefused) as error:
            return self._because("centre-unreachable", one, error)
        except PacsUnreachable as error:
            return self._because("pacs-unreachable", one, error)
        except PacsRefused as error:
            return self._because("pacs-refused", one, error)
        finally:
            await asyncio.to_thread(_remove, files)
        taken = [uid for uid, status in answers.items() if is_taken(status)]
        await asyncio.to_thread(self._log.mark_stored, one.write_back_id, taken)
        if len(taken) == len(one.missing):
            return ""
        return "pacs-refused" if len(taken) < len(answers) else "pacs-unreachable"

    @staticmethod
    def _because(reason: WriteBackReason, one: WriteBack, error: Exception) -> WriteBackReason:
        _log.warning("write-back-not-done", consult_id=one.consult_id, reason=reason, error=str(error))
        return reason


def _remove(files: list[FetchedObject]) -> None:
    for one in files:
        one.path.unlink(missing_ok=True)
