"""Works the journalled retrievals: by priority and deadline, in portions, fetching and sending at the same time."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any

from opentelemetry.trace import SpanKind

from edge_agent.errors import BatchRefused, CentreUnavailable, PacsRefused, PacsUnreachable, RetrieveFolderFull
from edge_agent.model import RetrievedFile
from edge_agent.ports import Centre, PacsHealth, PacsRetriever, RetrievalLog, RetrievedFiles, Slots
from edge_agent.retrievals import TRIES, Chunk, Retrieval, Work, most_urgent
from edge_agent.settings import Settings
from edge_agent.usecases.find_instances import FindInstances
from edge_agent.usecases.limit_bandwidth import Bandwidth
from edge_agent.usecases.tell_progress import ProgressTeller, ending_of
from imaging_common.events import RetrieveRequested
from imaging_common.events.edge import RetrieveReason
from imaging_common.telemetry import attached, get_logger, get_tracer

_log = get_logger(__name__)
_tracer = get_tracer(__name__)
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 15.0
URGENT = 2
"""Priorities up to this one find an upload that nothing less urgent has taken."""
KEEP_SECONDS = 86_400.0
PURGE_SECONDS = 600.0


class Retrievals:
    """One per agent with a PACS. It wakes up by events only: news, a slot that is free, the next thing that is due."""

    def __init__(
        self,
        settings: Settings,
        log: RetrievalLog,
        find: FindInstances,
        retriever: PacsRetriever,
        files: RetrievedFiles,
        centre: Centre,
        slots: Slots,
        health: PacsHealth,
        progress: ProgressTeller,
    ) -> None:
        self._log = log
        self._find = find
        self._retriever = retriever
        self._files = files
        self._centre = centre
        self._slots = slots
        self._health = health
        self._progress = progress
        self._uploads = max(1, settings.uploads)
        self._bandwidth = Bandwidth(settings.retrieve_bytes_per_second)
        self._works: dict[str, Work] = {}
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending = 0
        self._centre_delay = self._centre_not_before = 0.0
        self._purge_at = 0.0
        self.on_original: Callable[[Work], None] = lambda _: None
        """Called when a retrieval of the agent's own has ended."""
        self.on_begin: Callable[[], None] = lambda: None
        """Called when a retrieval has begun: what is less urgent makes way."""
        slots.on_free(self._news.set)

    async def request(self, request: RetrieveRequested) -> None:
        """Keep a request durably and begin; of a repeated or older one only the progress is told again."""
        retrieval = await asyncio.to_thread(self._log.take_request, request)
        if retrieval is not None:
            await self._add(retrieval)
        if (work := self._works.get(request.retrieval_id)) is not None:
            self._progress.forget(work)
            self._news.set()

    async def cancel(self, retrieval_id: str, study_uid: str) -> None:
        """Nobody wants it any more: what runs of it ends, nothing new begins."""
        if await asyncio.to_thread(self._log.cancel, retrieval_id, study_uid, self._progress.topic):
            self._progress.relay()
        work = self._works.get(retrieval_id)
        if work is not None and work.retrieval.study_uid == study_uid:
            self._drop(work)

    async def add_original(self, retrieval: Retrieval) -> None:
        """Begin a retrieval of the agent's own that is in the journal."""
        await self._add(retrieval)

    def drop_originals(self) -> None:
        """Begin nothing more of them."""
        for work in [work for work in self._works.values() if work.retrieval.original]:
            self._drop(work)

    @property
    def running(self) -> dict[str, int]:
        """Retrievals by priority."""
        return dict(Counter(str(work.retrieval.priority) for work in self._works.values()))

    async def run(self) -> None:
        """Work until cancelled; begins with what a former process left."""
        for retrieval in await asyncio.to_thread(self._log.unfinished):
            await self._add(retrieval)
        try:
            while True:
                self._news.clear()
                due = self._step()
                try:
                    async with asyncio.timeout(max(0.001, due - time.monotonic())):
                        await self._news.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._retriever.close()

    async def _add(self, retrieval: Retrieval) -> None:
        work = self._works.get(retrieval.retrieval_id)
        if work is None:
            done = await asyncio.to_thread(self._log.done, retrieval.retrieval_id)
            work = self._works.setdefault(retrieval.retrieval_id, Work(retrieval, done))
            self.on_begin()
        if retrieval.revision > work.retrieval.revision:
            work.adopt(retrieval)
        self._news.set()

    def _step(self) -> float:
        """Start everything that can start now; when to look again (monotonic seconds)."""
        now, wall = time.monotonic(), time.time()
        due = now + 60.0
        if now >= self._purge_at:
            self._purge_at = now + PURGE_SECONDS
            self._start(asyncio.to_thread(self._log.purge, wall - KEEP_SECONDS))
        works = most_urgent(self._works.values())
        for work in works:
            left = work.retrieval.deadline - wall
            if left <= 0 and not work.ending:
                self._give_up(work, "deadline")
            due = min(due, now + max(0.0, left)) if left > 0 else due
            if work.wanted is None and not work.resolving and now >= work.not_before:
                work.resolving = True
                self._start(self._resolve(work), work)
            if work.not_before > now:
                due = min(due, work.not_before)
        self._start_fetches(works, now)
        self._start_uploads(works, now)
        if self._centre_not_before > now:
            due = min(due, self._centre_not_before)
        for work in works:
            if work.finished:
                work.ending = True
                self._start(self._finish(work), work)
            elif not work.retrieval.original:
                due = min(due, self._progress.tell(work, now))
        return due

    def _start_fetches(self, works: list[Work], now: float) -> None:
        for work in works:
            if now < work.not_before or work.ending:
                continue
            while work.todo and not work.holds_back:
                if not self._files.has_room() or not self._slots.try_take(work.retrieval.priority):
                    return
                chunk = work.next_chunk(whole_series=self._retriever.name == "wado-rs")
                work.begin(chunk)
                self._start(self._fetch(work, chunk), work)

    def _start_uploads(self, works: list[Work], now: float) -> None:
        if now < self._centre_not_before:
            return
        for work in works:
            kept = 0 if work.retrieval.priority <= URGENT or self._uploads == 1 else 1
            while self._sending < self._uploads - kept and (batch := work.next_batch()):
                work.batches += 1
                work.sending_batches += 1
                self._sending += 1
                for file in batch:
                    del work.ready[file.sop_instance_uid]
                    work.sending.add(file.sop_instance_uid)
                self._start(self._send(work, batch), work)

    async def _resolve(self, work: Work) -> None:
        """Find out what the request means."""
        retrieval = work.retrieval
        try:
            wanted = await self._find.wanted(retrieval)
        except (PacsUnreachable, PacsRefused) as error:
            self._pacs_failed(work, error)
        else:
            if work.retrieval is retrieval:
                work.want(wanted)
        finally:
            work.resolving = False
            self._news.set()

    async def _fetch(self, work: Work, chunk: Chunk) -> None:
        """Have a chunk's files land in `ready`, each as it comes."""
        came = False
        try:
            async with (
                _from_pacs(self._retriever, len(chunk.wanted)),
                aclosing(self._retriever.fetch(chunk.wanted, whole_series=chunk.whole_series)) as files,
            ):
                async for file in files:
                    if not came:
                        self._health.answered()
                    came, work.failures = True, 0
                    await self._landed(work, file)
                    if chunk.whole_series and not self._wants(work):
                        return
            work.came_short(chunk, "study-gone", counts=2)  # the PACS is well and says so: once more, alone
        except (PacsUnreachable, PacsRefused) as error:
            met = isinstance(error, PacsRefused) or error.connected
            reason = self._pacs_failed(work, error, counts=not came)
            work.came_short(chunk, reason, counts=int(met))
        except RetrieveFolderFull as error:
            self._folder_full(work, error)
            work.came_short(chunk, "disk-full", counts=0)
        except Exception as error:
            _log.error("retrieval-failed", error=type(error).__name__, exc_info=error)
            work.came_short(chunk, "pacs-refused", counts=1)
        finally:
            self._slots.release()
            self._news.set()

    async def _landed(self, work: Work, file: RetrievedFile) -> None:
        work.fetching.discard(file.sop_instance_uid)
        if not self._wants(work) or file.sop_instance_uid in work.ready:
            await asyncio.to_thread(self._files.remove, file)
            return
        work.ready[file.sop_instance_uid] = file
        self._news.set()
        while not self._files.has_room() and self._wants(work) and self._sends():
            self._room.clear()
            await self._room.wait()

    def _sends(self) -> bool:
        """Whether room is going to come."""
        return any(work.ready or work.sending for work in self._works.values())

    def _pacs_failed(self, work: Work, error: Exception, *, counts: bool = True) -> RetrieveReason:
        """Wait before the PACS is asked again, longer each time; after a few times (`counts`) it is given up."""
        reason: RetrieveReason = "pacs-refused" if isinstance(error, PacsRefused) else "pacs-unreachable"
        self._health.failed(reason)
        now = time.monotonic()
        if now >= work.not_before:  # operations that fail together are one failure
            work.failures += counts
            delay = FIRST_DELAY_SECONDS * 2 ** max(0, work.failures - 1) * random.uniform(0.8, 1.2)  # noqa: S311
            work.not_before = now + delay
            _log.warning("pacs-failed", reason=reason, error=str(error), failures=work.failures)
            if work.failures > TRIES:
                work.give_up(reason)
        return reason

    def _folder_full(self, work: Work, error: RetrieveFolderFull) -> None:
        if error.broken or not self._sends():
            _log.error("retrieve-folder-full", error=str(error))
            work.give_up("disk-full")
        else:
            work.not_before = time.monotonic() + FIRST_DELAY_SECONDS

    async def _send(self, work: Work, batch: list[RetrievedFile]) -> None:
        """Send a batch; it is done, or ready again, or missing."""
        retrieval = work.retrieval
        upload_id = "" if retrieval.original else retrieval.retrieval_id
        again: list[RetrievedFile] = []
        try:
            await self._bandwidth.take(sum(file.length for file in batch), retrieval.urgency)
            with _tracer.start_as_current_span("send-retrieved", kind=SpanKind.INTERNAL) as span:
                span.set_attribute("imaging.instances", len(batch))
                answer = await self._centre.store(retrieval.study_uid, batch, upload_id)
            lengths = {file.sop_instance_uid: file.length for file in batch if file.sop_instance_uid in answer.stored}
            await asyncio.to_thread(self._log.mark_done, retrieval.retrieval_id, lengths)
            work.done.update(lengths)
            work.missing.update(dict.fromkeys(answer.rejected, "centre-refused"))
            again = [file for file in batch if file.sop_instance_uid not in answer.stored | answer.rejected.keys()]
            self._centre_delay = 0.0
            if again:
                raise CentreUnavailable(f"{len(again)} instances are to be sent again")
        except CentreUnavailable as error:
            again = again or batch
            self._centre_delay = min(max(FIRST_DELAY_SECONDS, self._centre_delay * 2), LONGEST_DELAY_SECONDS)
            self._centre_not_before = time.monotonic() + self._centre_delay * random.uniform(0.8, 1.2)  # noqa: S311
            _log.warning("retrieved-batch-not-sent", error=str(error), retry_seconds=round(self._centre_delay, 1))
        except BatchRefused as error:
            _log.warning("retrieved-batch-refused", status=error.status, instances=len(batch))
            if len(batch) > 1:
                work.alone.update(file.sop_instance_uid for file in batch)
                again = batch
            else:
                work.missing[batch[0].sop_instance_uid] = "centre-refused"
        except Exception as error:
            _log.error("retrieved-batch-failed", error=type(error).__name__, exc_info=error)
            again = batch
            self._centre_not_before = time.monotonic() + LONGEST_DELAY_SECONDS
        finally:
            self._sent(work, batch, again)

    def _sent(self, work: Work, batch: list[RetrievedFile], again: list[RetrievedFile]) -> None:
        self._sending -= 1
        work.sending_batches -= 1
        work.sending.difference_update(file.sop_instance_uid for file in batch)
        kept = again if self._wants(work) else []
        work.ready = {file.sop_instance_uid: file for file in kept} | work.ready
        gone = [file for file in batch if file not in kept]
        self._start(self._remove(gone))
        self._news.set()

    async def _remove(self, files: list[RetrievedFile]) -> None:
        def remove() -> None:
            for file in files:
                self._files.remove(file)

        await asyncio.to_thread(remove)
        self._room.set()
        self._news.set()

    def _wants(self, work: Work) -> bool:
        return self._works.get(work.retrieval.retrieval_id) is work

    def _give_up(self, work: Work, reason: RetrieveReason) -> None:
        """End it now: what is on its way to the centre may arrive, what is not is dropped."""
        work.give_up(reason)
        work.ending = True
        work.missing.update(dict.fromkeys((*work.fetching, *work.ready, *work.sending), reason))
        self._start(self._finish(work), work)

    async def _finish(self, work: Work) -> None:
        """End it in the journal together with the event that tells so; unless a newer revision came meanwhile."""
        retrieval = work.retrieval
        state, event = ending_of(work)
        ended = await asyncio.to_thread(
            self._log.finish,
            retrieval.retrieval_id,
            retrieval.revision,
            state,
            self._progress.topic,
            None if retrieval.original else event,
        )
        work.ending = False
        if work.retrieval is not retrieval:
            self._news.set()
            return
        if ended:
            self._progress.relay()
            _log.info("retrieval-ended", state=state, instances=len(work.done), missing=len(work.missing))
        self._drop(work)
        if retrieval.original:
            self.on_original(work)

    def _drop(self, work: Work) -> None:
        self._works.pop(work.retrieval.retrieval_id, None)
        self._progress.forget(work)
        files, work.ready = list(work.ready.values()), {}
        work.todo.clear()
        self._room.set()
        self._start(self._remove(files))

    def _start(self, doing: Coroutine[Any, Any, Any], work: Work | None = None) -> None:
        """Do it beside everything else; what is done for a retrieval continues the trace of whoever asked for it."""
        with attached(work.retrieval.traceparent if work else None):
            task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def _from_pacs(retriever: PacsRetriever, wanted: int) -> AsyncIterator[None]:
    """The span of one request to the PACS, by the name of the DICOM service that it used: known at its end."""
    with _tracer.start_as_current_span("PACS", kind=SpanKind.CLIENT, record_exception=False) as span:
        span.set_attribute("imaging.instances", wanted)
        try:
            yield
        finally:
            span.update_name(f"PACS {retriever.name}")
