"""Durable reports leave for the centre in the order in which they came, and again until it has them."""

import asyncio

from edge_agent.errors import CentreUnavailable, ReportRefused
from edge_agent.model import KeptReport
from edge_agent.ports import ReportCentre, ReportQueue
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 30.0
POLL_SECONDS = 10.0
BATCH = 20


class ReportSender:
    """One per agent. What the centre refuses is kept aside with the reason and does not hold up the others."""

    def __init__(self, queue: ReportQueue, centre: ReportCentre) -> None:
        self._queue = queue
        self._centre = centre
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def notify(self) -> None:
        """There is a report; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._news.set)

    async def run(self) -> None:
        """Send until cancelled."""
        self._loop = asyncio.get_running_loop()
        delay = FIRST_DELAY_SECONDS
        while True:
            self._news.clear()
            try:
                while await self.send_some():
                    delay = FIRST_DELAY_SECONDS
            except CentreUnavailable as error:
                _log.warning("report-not-sent", error=str(error), retry_seconds=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY_SECONDS)
                continue
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def send_some(self) -> int:
        """Send the oldest reports; how many there were.

        Raises
        ------
        CentreUnavailable
            The centre does not take them now.
        """
        reports = await asyncio.to_thread(self._queue.waiting, BATCH)
        for report in reports:
            await self._send(report)
        return len(reports)

    async def _send(self, report: KeptReport) -> None:
        try:
            data = await asyncio.to_thread(self._queue.read, report)
        except FileNotFoundError:
            _log.error("report-file-missing", sha256=report.sha256)
            await asyncio.to_thread(self._queue.mark_refused, report, "file-missing")
            return
        try:
            await self._centre.send(data, report.media_type)
        except ReportRefused as error:
            _log.error("report-refused", sha256=report.sha256, error=str(error))
            await asyncio.to_thread(self._queue.mark_refused, report, error.reason)
            return
        await asyncio.to_thread(self._queue.mark_sent, report)
