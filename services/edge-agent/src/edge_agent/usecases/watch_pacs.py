"""Watches the hospital's PACS: whole sweeps find what is new, changed or gone; each such study is announced."""

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from edge_agent.errors import BatchRefused, CentreUnavailable, PacsRefused, PacsUnreachable
from edge_agent.model import PacsInstance
from edge_agent.pacs_model import DicomJson, NightWindow
from edge_agent.ports import Announced, CatalogueDoor, HeaderQueue, PacsKnowledge, PacsQuery
from edge_agent.settings import Settings
from edge_agent.usecases.list_studies import StudyLister
from edge_agent.usecases.read_study import StudyContents, find_study, list_instances, read_study
from imaging_common.events import StudyAvailable
from imaging_common.objects.catalogue import encode
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 30.0
POLL_SECONDS = 1.0
WORKERS = 2
"""Studies whose catalogues are made at the same time."""
HEADER_RETRY_SECONDS = 600.0
STUDY_RETRY_SECONDS = 15.0
LOOK_BACK = 500
"""Unlisted studies that are asked for one by one in a sweep, before any of them counts as missed."""
THOROUGH_UP_TO = 20
"""Times `pacs_find_limit` studies: larger PACSs are searched for studies without date or time every 10th sweep only."""
THOROUGH_EVERY = 10
BURST_SECONDS = 1.0
"""What the backfill's rate allows within this time may go at once."""
CHECK_PART = 0.5
"""Part of `pacs_sweep_seconds` that comparing instances may take, where the PACS counts none."""


class PacsWatch:
    """One per agent with a PACS.

    Parameters
    ----------
    on_event
        Told when the outbox has something.
    on_listed
        Told which instances of a study the PACS lists: copies of them that devices sent need not be kept.
    headers
        Headers that were harvested where the PACS gives none.
    """

    def __init__(
        self,
        settings: Settings,
        query: PacsQuery,
        knowledge: PacsKnowledge,
        door: CatalogueDoor,
        on_event: Callable[[], None] = lambda: None,
        on_listed: Callable[[str, list[PacsInstance]], None] = lambda study, instances: None,
        headers: HeaderQueue | None = None,
    ) -> None:
        self._settings = settings
        self._query = query
        self._knowledge = knowledge
        self._door = door
        self._on_event = on_event
        self._on_listed = on_listed
        self._headers = headers
        self._window = NightWindow.parse(settings.pacs_backfill_window)
        self._hints: dict[str, None] = {}
        self._hints_lock = threading.Lock()
        self._news = asyncio.Event()
        self._sweep_now = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._busy: set[str] = set()
        self._sweeps = 0
        self._history_from = 0.0
        self._failures = 0
        self._not_before = 0.0

    def hint(self, study_uid: str) -> None:
        """Look at this study at once; from any thread."""
        with self._hints_lock:
            self._hints[study_uid] = None
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._news.set)

    def sweep_soon(self) -> None:
        """Do not wait for the next sweep's time; from the event loop's thread."""
        self._sweep_now.set()

    async def announce_again(self, study_uid: str | None) -> int:
        """The centre lost what was announced of this study, or of all; how many the PACS has of those."""
        count = await asyncio.to_thread(self._knowledge.announce_again, study_uid, self._oldest_recent())
        self._news.set()
        self._on_event()
        return count

    async def run(self) -> None:
        """Watch until cancelled; no error of the PACS, the centre or ours ends it."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sweep_forever())
                group.create_task(self._forever(self._follow_hints))
                for _ in range(WORKERS):
                    group.create_task(self._forever(self._announce_next))
        finally:
            self._loop = None
            await self._query.close()

    async def _forever(self, step: Callable[[], Awaitable[bool]]) -> None:
        while True:
            try:
                if await step():
                    continue
            except Exception as error:
                _log.error("pacs-watch-failed", error=type(error).__name__, exc_info=error)
            self._news.clear()
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _sweep_forever(self) -> None:
        delay = FIRST_DELAY_SECONDS
        while True:
            self._sweep_now.clear()
            wait = self._settings.pacs_sweep_seconds
            try:
                await self.sweep()
                delay = FIRST_DELAY_SECONDS
            except (PacsUnreachable, PacsRefused) as error:
                wait, delay = min(delay, wait), min(delay * 2, LONGEST_DELAY_SECONDS)
                _log.warning("sweep-broke-off", error=str(error), retry_seconds=round(wait, 1))
            except Exception as error:
                _log.error("sweep-failed", error=type(error).__name__, exc_info=error)
            try:
                async with asyncio.timeout(wait):
                    await self._sweep_now.wait()
            except TimeoutError:
                continue

    async def sweep(self) -> None:
        """List the whole PACS and take in what is new, changed and gone.

        Raises
        ------
        PacsUnreachable, PacsRefused
            It broke off: what was found is taken in, nothing counts as missed.
        """
        lister = StudyLister(self._query, self._settings.pacs_find_limit)
        counts = await asyncio.to_thread(self._knowledge.counts)
        few = counts.studies <= THOROUGH_UP_TO * self._settings.pacs_find_limit
        try:
            await lister.list_all(thorough=few or self._sweeps % THOROUGH_EVERY == 0)
        except (PacsUnreachable, PacsRefused):
            await asyncio.to_thread(self._knowledge.compare, lister.studies, self._oldest_recent())
            self._news.set()
            raise
        news = await asyncio.to_thread(self._knowledge.compare, lister.studies, self._oldest_recent())
        if news.new or news.changed:
            self._news.set()
        await self._look_for(news.unlisted[:LOOK_BACK])
        await asyncio.to_thread(self._knowledge.sweep_ended, time.time())
        self._sweeps += 1
        if news.new or news.changed or news.unlisted:
            _log.info("sweep-ended", new=news.new, changed=news.changed, unlisted=len(news.unlisted))
        await self._compare_instances()

    async def _look_for(self, unlisted: list[str]) -> None:
        """Ask for each study that was not listed: only one that the PACS does not have counts as missed."""
        gone, there = [], {}
        for study_uid in unlisted:
            found = await find_study(self._query, study_uid)
            if found is None:
                gone.append(study_uid)
            else:
                there[study_uid] = found[0]
        if there:
            await asyncio.to_thread(self._knowledge.compare, there, self._oldest_recent())
        withdrawn = await asyncio.to_thread(self._knowledge.count_missed, gone, self._settings.pacs_withdraw_sweeps)
        if withdrawn:
            _log.info("studies-withdrawn", count=len(withdrawn))
            self._on_event()

    async def _compare_instances(self) -> None:
        """Where the PACS counts no instances: compare their UIDs, recent studies first, then one after the other."""
        until = time.monotonic() + CHECK_PART * self._settings.pacs_sweep_seconds
        to_check = await asyncio.to_thread(self._knowledge.to_check, self._oldest_recent(), 10_000)
        for study_uid, before in to_check:
            now = await list_instances(self._query, study_uid)
            changed = bool(before) and now != before
            await asyncio.to_thread(self._knowledge.checked, study_uid, changed=changed)
            if changed:
                self._news.set()
            if time.monotonic() > until:
                return

    async def _follow_hints(self) -> bool:
        """Take the oldest hint in; False: there is none."""
        with self._hints_lock:
            if not self._hints:
                return False
            study_uid = next(iter(self._hints))
            del self._hints[study_uid]
        try:
            found = await find_study(self._query, study_uid)
        except (PacsUnreachable, PacsRefused) as error:
            _log.warning("hint-left-to-the-sweep", error=str(error))
            return True
        if found is not None:
            await asyncio.to_thread(self._knowledge.want, found[0])
            self._news.set()
        return True

    async def _announce_next(self) -> bool:
        """Announce the most urgent study; False: nothing is to be done now."""
        if time.monotonic() < self._not_before:
            return False
        open_now = time.monotonic() >= self._history_from and self._window.is_open(datetime.now())
        candidates = await asyncio.to_thread(
            self._knowledge.waiting, time.time(), WORKERS + len(self._busy), history=open_now
        )
        for study_uid, history in candidates:
            if study_uid in self._busy:
                continue
            if history:
                if time.monotonic() < self._history_from:
                    return False
                self._pace_history()
            self._busy.add(study_uid)
            try:
                await self._announce_safely(study_uid)
            finally:
                self._busy.discard(study_uid)
            return True
        return False

    def _pace_history(self) -> None:
        per_minute = max(self._settings.pacs_backfill_per_minute, 0.001)
        now = time.monotonic()
        self._history_from = max(self._history_from, now - BURST_SECONDS) + 60 / per_minute

    async def _announce_safely(self, study_uid: str) -> None:
        try:
            await self.announce_study(study_uid)
            self._failures = 0
        except CentreUnavailable as error:
            self._back_off("catalogue-not-sent", error)
        except PacsUnreachable as error:
            self._back_off("study-not-read", error)
        except PacsRefused as error:
            _log.warning("study-not-read", error=str(error))
            await asyncio.to_thread(self._knowledge.postpone, study_uid, STUDY_RETRY_SECONDS)
        except BatchRefused as error:
            _log.error("catalogue-refused", status=error.status)
            await asyncio.to_thread(self._knowledge.postpone, study_uid, 0.0, f"http-{error.status}")
        except Exception as error:
            _log.error("study-not-announced", error=type(error).__name__, exc_info=error)
            await asyncio.to_thread(self._knowledge.postpone, study_uid, STUDY_RETRY_SECONDS)

    def _back_off(self, what: str, error: Exception) -> None:
        """All wait, longer each time, because it is one centre and one PACS."""
        delay = min(FIRST_DELAY_SECONDS * 2 ** min(self._failures, 10), LONGEST_DELAY_SECONDS)
        self._failures += 1
        self._not_before = time.monotonic() + delay * random.uniform(0.8, 1.2)  # noqa: S311
        _log.warning(what, error=str(error), retry_seconds=round(delay, 1))

    async def announce_study(self, study_uid: str) -> None:
        """Read a study, leave its catalogue with the centre, then announce it, unless it is as announced before.

        Raises
        ------
        PacsUnreachable, PacsRefused, CentreUnavailable, BatchRefused
            It is not announced.
        """
        harvested: dict[str, DicomJson] = {}
        if self._headers is not None and not self._query.gives_headers:
            harvested = await asyncio.to_thread(self._headers.harvested, study_uid)
        contents = await read_study(self._query, self._settings.hospital, study_uid, harvested)
        if contents is None:
            await asyncio.to_thread(self._knowledge.postpone, study_uid, STUDY_RETRY_SECONDS)
            return
        if contents.stale and self._headers is not None:
            await asyncio.to_thread(self._headers.drop, study_uid, contents.stale)
        event = None
        if contents.content != await asyncio.to_thread(self._knowledge.announced_content, study_uid):
            event = await self._statement(contents)
        retry = HEADER_RETRY_SECONDS if self._query.gives_headers and not contents.full else 0.0
        told = Announced(contents.fingerprint, contents.content, contents.full, retry, contents.instances)
        await asyncio.to_thread(self._knowledge.settle, contents.listing, told, event)
        await asyncio.to_thread(self._on_listed, study_uid, contents.listed)
        if event is not None:
            self._on_event()

    async def _statement(self, contents: StudyContents) -> StudyAvailable:
        study_uid = contents.listing.study_uid
        announcement = await asyncio.to_thread(self._knowledge.next_announcement, study_uid)
        catalogue = contents.catalogue.model_copy(update={"announcement": announcement})
        key = await self._door.put(study_uid, await asyncio.to_thread(encode, catalogue))
        return StudyAvailable(
            study_uid=study_uid,
            announcement=announcement,
            basis="pacs",
            instances=[],
            announced_at=datetime.now(UTC),
            catalogue_key=key,
        )

    def _oldest_recent(self) -> str:
        return f"{datetime.now() - timedelta(days=self._settings.pacs_recent_days):%Y%m%d}"
