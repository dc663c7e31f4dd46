"""Harvests headers from a PACS without WADO-RS: reads instances at a limited rate, keeps their headers, drops the rest.

It is the least urgent of all that asks the PACS: while any retrieval runs nothing is read, and what is being read when
one begins is broken off. What is harvested goes to the centre in the study's next catalogue (`PacsWatch`).
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

from edge_agent.errors import PacsRefused, PacsUnreachable, RetrieveFolderFull
from edge_agent.harvesting import RETRY_SECONDS, next_portion
from edge_agent.model import PacsInstance, RetrievedFile
from edge_agent.pacs_model import DicomJson, NightWindow
from edge_agent.ports import HeaderQueue, PacsContents, PacsRetriever, RetrievedFiles, Slots
from edge_agent.rejections import is_rejection_note
from edge_agent.settings import Settings
from imaging_common.dicom import RejectedInstance
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
LEAST_URGENT = 9
POLL_SECONDS = 2.0
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 5.0, 600.0


class HeaderHarvest:
    """One per agent whose PACS has no WADO-RS.

    Parameters
    ----------
    read_header
        The header of a file that landed; `RejectedInstance`: it is none. Blocking.
    busy
        Whether any retrieval runs.
    """

    def __init__(
        self,
        settings: Settings,
        queue: HeaderQueue,
        contents: PacsContents,
        retriever: PacsRetriever,
        files: RetrievedFiles,
        slots: Slots,
        read_header: Callable[[RetrievedFile], DicomJson],
        busy: Callable[[], bool],
    ) -> None:
        self._per_minute = settings.pacs_header_instances_per_minute
        self._recent_days = settings.pacs_recent_days
        self._window = NightWindow.parse(settings.pacs_backfill_window)
        self._queue = queue
        self._contents = contents
        self._retriever = retriever
        self._files = files
        self._slots = slots
        self._read_header = read_header
        self._busy = busy
        self._reading: asyncio.Task[None] | None = None
        self._asked: dict[str, set[str]] = {}
        """By study: instances that were asked for in this round, whether they came or not."""
        self._later: dict[str, float] = {}
        """By study: when (monotonic) it is tried again."""
        self._not_before = 0.0
        self._delay = 0.0

    def make_way(self) -> None:
        """A retrieval has begun: what is being read is broken off."""
        if self._reading is not None:
            self._reading.cancel()

    async def run(self) -> None:
        """Harvest until cancelled; with a rate of 0 never."""
        if self._per_minute <= 0:
            await asyncio.Event().wait()
        while True:
            try:
                worked = await self.step()
            except Exception as error:
                _log.error("headers-not-harvested", error=type(error).__name__, exc_info=error)
                worked = False
            if not worked:
                await asyncio.sleep(POLL_SECONDS)

    async def step(self) -> bool:
        """Read the next portion of the newest study that wants it; False: nothing can be done now."""
        now = time.monotonic()
        if now < self._not_before or self._busy() or not self._files.has_room():
            return False
        self._later = {uid: at for uid, at in self._later.items() if at > now}
        study_uid = await asyncio.to_thread(self._queue.next_without_headers, self._oldest(), list(self._later))
        if not study_uid:
            return False
        wanted = await asyncio.to_thread(self._contents.instances, study_uid)
        known = await asyncio.to_thread(self._queue.harvested, study_uid)
        portion = next_portion(wanted, known.keys() | self._asked.get(study_uid, set()))
        if not portion:
            whole = all(one.sop_instance_uid in known for one in wanted)
            await self._end(study_uid, anything=bool(known), whole=whole)
            return True
        if self._busy() or not self._slots.try_take(LEAST_URGENT):
            return False
        try:
            return await self._read(study_uid, portion)
        finally:
            self._slots.release()

    def _oldest(self) -> str:
        """History waits for the night window."""
        now = datetime.now()
        return "" if self._window.is_open(now) else f"{now - timedelta(days=self._recent_days):%Y%m%d}"

    async def _end(self, study_uid: str, *, anything: bool, whole: bool) -> None:
        """All its instances were asked for: tell the centre what came, and leave the rest for later."""
        self._asked.pop(study_uid, None)
        tries = await asyncio.to_thread(self._queue.asked_for_all, study_uid)
        if not whole:
            self._later[study_uid] = time.monotonic() + RETRY_SECONDS * 2 ** max(0, tries - 1)
        if anything:
            await asyncio.to_thread(self._queue.announce, study_uid)
        _log.info("headers-harvested", tries=tries)

    async def _read(self, study_uid: str, portion: Sequence[PacsInstance]) -> bool:
        """Read instances, within their share of the minute; what came is kept also if it broke off."""
        headers: dict[str, DicomJson] = {}
        error, broken_off = await self._apart(self._collect(portion, headers))
        notes = [uid for uid, header in headers.items() if is_rejection_note(header)]
        if headers:
            await asyncio.to_thread(self._queue.keep, study_uid, headers, notes)
        if notes:
            await asyncio.to_thread(self._queue.announce, study_uid)  # what they reject is not shown any longer
        if not broken_off and not isinstance(error, PacsUnreachable | RetrieveFolderFull):
            self._asked.setdefault(study_uid, set()).update(one.sop_instance_uid for one in portion)
        self._pace(len(headers), failed=error is not None)
        return not broken_off

    def _pace(self, instances: int, *, failed: bool) -> None:
        self._delay = min(max(FIRST_DELAY_SECONDS, 2 * self._delay), LONGEST_DELAY_SECONDS) if failed else 0.0
        self._not_before = time.monotonic() + max(self._delay, 60 * instances / self._per_minute)

    async def _apart(self, work: Coroutine[Any, Any, None]) -> tuple[Exception | None, bool]:
        """Run what `make_way` may break off; its error, and whether it was broken off."""
        task = self._reading = asyncio.create_task(work)
        try:
            await asyncio.wait({task})
        finally:
            self._reading = None
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if task.cancelled():
            return None, True
        error = task.exception()
        if error is None or isinstance(error, PacsUnreachable | PacsRefused | RetrieveFolderFull):
            if error is not None:
                _log.warning("headers-not-read", error=str(error))
            return error, False
        raise error

    async def _collect(self, portion: Sequence[PacsInstance], headers: dict[str, DicomJson]) -> None:
        async with aclosing(self._retriever.fetch(portion)) as files:
            async for file in files:
                try:
                    headers[file.sop_instance_uid] = await asyncio.to_thread(self._read_header, file)
                except RejectedInstance as error:
                    _log.warning("header-not-readable", reason=error.reason_code)
                finally:
                    await asyncio.shield(asyncio.to_thread(self._files.remove, file))
