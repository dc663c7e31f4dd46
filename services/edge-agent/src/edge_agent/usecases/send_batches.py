"""Sends spooled instances to the centre in batches, study by study, until it has them."""

import asyncio
import random
import time
from collections import Counter

from opentelemetry.trace import Link, SpanKind

from edge_agent.errors import BatchRefused, CentreUnavailable
from edge_agent.model import SpooledInstance, forward_id, take_batch
from edge_agent.ports import Centre, SpoolFiles, StudyJournal
from edge_agent.settings import Settings
from imaging_common.telemetry import attached, get_logger, get_tracer
from imaging_common.telemetry.context import link_to

_log = get_logger(__name__)
_tracer = get_tracer(__name__)
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 30.0
POLL_SECONDS = 1.0
GATHER_SECONDS = 0.05
"""Arrivals within this time are looked at together."""
FILL_SECONDS = 0.5
"""A batch that is far from full waits so long after the study's last one began, for more to arrive."""
FILLED_PART = 4
LOOK_AHEAD = 1000
MAX_LINKS = 127


class BatchSender:
    """Bounded batches in flight; after a failure all wait, longer each time, because it is one centre."""

    def __init__(self, settings: Settings, journal: StudyJournal, files: SpoolFiles, centre: Centre) -> None:
        self._settings = settings
        self._journal = journal
        self._files = files
        self._centre = centre
        self._news = asyncio.Event()
        self._in_flight: set[int] = set()
        self._of_study: Counter[str] = Counter()
        self._begun: dict[str, float] = {}
        self._alone: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._delay = 0.0
        self._not_before = 0.0
        self._recheck = POLL_SECONDS

    def notify(self) -> None:
        """Something arrived."""
        self._news.set()

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                self._news.clear()
                await self._start_uploads()
                wait = max(self._recheck, self._not_before - time.monotonic())
                try:
                    async with asyncio.timeout(wait):
                        await self._news.wait()
                except TimeoutError:
                    continue
                await asyncio.sleep(GATHER_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start_uploads(self) -> None:
        self._recheck = POLL_SECONDS
        if time.monotonic() < self._not_before:
            return
        now = time.monotonic()
        self._begun = {study: at for study, at in self._begun.items() if now - at < FILL_SECONDS}
        for study_uid, first in self._journal.studies_to_send():
            while len(self._tasks) < self._settings.uploads:
                batch = self._next_batch(study_uid, first)
                if not batch:
                    break
                self._take(study_uid, batch)

    def _next_batch(self, study_uid: str, first: bool) -> list[SpooledInstance]:
        if self._of_study[study_uid] >= self._settings.uploads_per_study:
            return []
        waiting = self._journal.to_send(study_uid, LOOK_AHEAD + len(self._in_flight))
        batch = take_batch(
            (instance for instance in waiting if instance.number not in self._in_flight),
            first=first and not self._of_study[study_uid],
            first_instances=self._settings.first_batch_instances,
            batch_bytes=self._settings.batch_bytes,
            alone=self._alone,
        )
        since = time.monotonic() - self._begun.get(study_uid, -FILL_SECONDS)
        small = sum(instance.length for instance in batch) < self._settings.batch_bytes / FILLED_PART
        if batch and batch[0].number not in self._alone and small and since < FILL_SECONDS:
            self._recheck = min(self._recheck, FILL_SECONDS - since)
            return []
        return batch

    def _take(self, study_uid: str, batch: list[SpooledInstance]) -> None:
        numbers = {instance.number for instance in batch}
        self._begun[study_uid] = time.monotonic()
        self._in_flight |= numbers
        self._of_study[study_uid] += 1
        task = asyncio.create_task(self._send(study_uid, batch))
        self._tasks.add(task)

        def done(_: object) -> None:
            self._tasks.discard(task)
            self._in_flight.difference_update(numbers)
            if len(numbers) == 1:
                self._alone.difference_update(numbers)
            self._of_study[study_uid] -= 1
            if not self._of_study[study_uid]:
                del self._of_study[study_uid]
            self._news.set()

        task.add_done_callback(done)

    async def _send(self, study_uid: str, batch: list[SpooledInstance]) -> None:
        try:
            await self.send_batch(study_uid, batch)
            self._delay = 0.0
        except CentreUnavailable as error:
            self._delay = min(max(FIRST_DELAY_SECONDS, self._delay * 2), LONGEST_DELAY_SECONDS)
            self._not_before = time.monotonic() + self._delay * random.uniform(0.8, 1.2)  # noqa: S311
            _log.warning("batch-not-sent", error=str(error), retry_seconds=round(self._delay, 1))
        except Exception as error:
            self._not_before = time.monotonic() + LONGEST_DELAY_SECONDS
            _log.error("batch-failed", error=type(error).__name__, exc_info=error)

    async def send_batch(self, study_uid: str, batch: list[SpooledInstance]) -> None:
        """Send one batch; its span continues the first instance's trace and links the others.

        Raises
        ------
        CentreUnavailable
            Nothing is known of it.
        """
        damaged = await asyncio.to_thread(self._files.damaged, batch)
        if damaged:
            await self._reject({instance: "file-damaged" for instance in damaged})
            return
        with (
            attached(batch[0].traceparent),
            _tracer.start_as_current_span("send-batch", kind=SpanKind.INTERNAL, links=_links(batch)) as span,
        ):
            span.set_attribute("imaging.instances", len(batch))
            try:
                answer = await self._centre.store(study_uid, batch, self._forward_id(batch))
            except BatchRefused as error:
                await self._isolate(batch, error)
                return
        sent = [instance.number for instance in batch if instance.sop_instance_uid in answer.stored]
        await asyncio.to_thread(self._journal.mark_sent, sent)
        by_uid = {instance.sop_instance_uid: instance for instance in batch}
        await self._reject({by_uid[uid]: reason for uid, reason in answer.rejected.items() if uid in by_uid})
        if unanswered := len(batch) - len(sent) - len(answer.rejected):
            raise CentreUnavailable(f"{unanswered} instances are to be sent again")

    def _forward_id(self, batch: list[SpooledInstance]) -> str | None:
        """At a hospital with a PACS devices send copies of what that keeps: they go to the cache tier, as a retrieval
        of their own; the same batch again is the same one."""
        if not self._settings.pacs_ae_title:
            return None
        return forward_id(self._settings.hospital, batch[0])

    async def _isolate(self, batch: list[SpooledInstance], error: BatchRefused) -> None:
        """A refused request costs the one instance that is at fault: each goes alone from now on."""
        if len(batch) == 1:
            await self._reject({batch[0]: f"http-{error.status}"})
            return
        _log.warning("batch-refused", status=error.status, instances=len(batch))
        self._alone.update(instance.number for instance in batch)

    async def _reject(self, reasons: dict[SpooledInstance, str]) -> None:
        if not reasons:
            return
        by_number = {instance.number: reason for instance, reason in reasons.items()}
        await asyncio.to_thread(self._journal.mark_rejected, by_number)
        await asyncio.to_thread(self._files.quarantine, list(reasons))
        for reason, count in Counter(reasons.values()).items():
            _log.error("instances-rejected", reason=reason, count=count)


def _links(batch: list[SpooledInstance]) -> list[Link]:
    links = (link_to(instance.traceparent) for instance in batch[1 : MAX_LINKS + 1])
    return [link for link in links if link is not None]
