"""Takes the archive's receipts, and keeps the copies that have one in a bounded ring."""

import asyncio

from edge_agent.ports import SpoolFiles, StudyJournal
from edge_agent.settings import Settings
from imaging_common.errors import RejectedError
from imaging_common.events import BatchStored
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
POLL_SECONDS = 1.0


class Ring:
    """One per agent."""

    def __init__(self, settings: Settings, journal: StudyJournal, files: SpoolFiles) -> None:
        self._settings = settings
        self._journal = journal
        self._files = files
        self._trimming = asyncio.Lock()

    async def take_receipt(self, receipt: BatchStored) -> None:
        """The archive has these instances: their copies may go; a second receipt changes nothing.

        At a hospital with a PACS what devices send lies in the cache, which may evict it: there the copies stay until
        the PACS lists the instances (`ForwardHints`), whatever the centre says.

        Raises
        ------
        RejectedError
            It speaks of another hospital.
        """
        if receipt.hospital != self._settings.hospital:
            raise RejectedError("a receipt for another hospital")
        if self._settings.pacs_ae_title:
            _log.info("receipt-left-to-the-pacs", instances=len(receipt.instances))
            return
        news = await asyncio.to_thread(self._journal.mark_stored, receipt.study_uid, receipt.instances)
        _log.info("receipt-taken", instances=len(receipt.instances), news=news)
        await self.trim()

    async def trim(self) -> None:
        """Delete the oldest copies beyond the ring's limit, and beyond what the spool has room for."""
        async with self._trimming:
            while excess := self._journal.usage().ring_excess(
                self._settings.ring_bytes, self._settings.spool_limit_bytes
            ):
                oldest = self._journal.ring_oldest(excess)
                if not oldest:
                    return
                # in this order: a file without a row is swept at the next start, a row without a file is an alarm
                await asyncio.to_thread(self._journal.mark_removed, [instance.number for instance in oldest])
                await asyncio.to_thread(self._files.remove, oldest)

    async def run(self) -> None:
        """Trim until cancelled: the ring also makes way for what arrives."""
        while True:
            await self.trim()
            await asyncio.sleep(POLL_SECONDS)
