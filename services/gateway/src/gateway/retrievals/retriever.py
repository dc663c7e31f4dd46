"""Brings images of hospitals' own PACS into the cache tier: asks, shares, waits, gives up, cancels."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import structlog
from pymongo.errors import PyMongoError

from gateway.errors import HolderAway
from gateway.retrievals.bounds import Bounds
from gateway.retrievals.desk import Desk
from gateway.retrievals.edges import Clock, Edges, utc_now
from gateway.retrievals.measures import RETRIEVALS, RETRIEVED_BYTES, WHOLE_SECONDS, measured_wait
from gateway.retrievals.model import MAX_FIRST, PREFETCH, VIEW, Away, Retrieval, Want, union
from gateway.retrievals.ports import RetrievalStore
from gateway.retrievals.upkeep import Upkeep
from gateway.retrievals.wanted import wanted_series
from imaging_common.errors import ImagingError
from imaging_common.events import RetrieveFailed, RetrieveProgressed, StudyChanged
from imaging_common.index.model import InstanceDocument, ListedInstance, StudyDocument
from imaging_common.index.read import StudyIndex
from imaging_common.messaging import EventPublisher

_log = structlog.get_logger(__name__)


class Retriever:
    """One copy's side of all retrievals.

    Raises `HolderAway` at once where it is known that the holder cannot be asked.
    """

    def __init__(
        self,
        store: RetrievalStore,
        index: StudyIndex,
        edges: Edges,
        publisher: EventPublisher,
        bounds: Bounds | None = None,
        *,
        clock: Clock = utc_now,
        turned: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self.edges = edges
        self.bounds = bounds or Bounds()
        self._store = store
        self._index = index
        self._publisher = publisher
        self._clock = clock
        self._copy = f"copy-{uuid4().hex[:12]}"
        self._desks: dict[str, Desk] = {}
        self._known: dict[str, Retrieval] = {}
        """The last that was seen of a retrieval: for pages, and to refuse at once what was refused a moment ago."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._upkeep = Upkeep(store, publisher, edges, self.bounds, clock, self._copy, self._desks, turned)
        self._rounds: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take over what is known, and begin to look after retrievals."""
        with suppress(PyMongoError):
            await self.edges.load()
        self._rounds = asyncio.create_task(self._upkeep.run())

    async def stop(self) -> None:
        """Give the leases back to time."""
        for task in [*self._tasks, *([self._rounds] if self._rounds else [])]:
            task.cancel()
            await asyncio.wait({task})
        for desk in self._desks.values():
            await desk.stop()

    async def look_after_once(self) -> None:
        """One round of `Upkeep`."""
        await self._upkeep.once()

    def away(self, holder: str, study_uid: str = "") -> Away | None:
        """Why the holder cannot be asked, for a study if one is named; None: it can."""
        if away := self.edges.away(holder):
            return away
        known = self._known.get(f"{holder}/{study_uid}")
        if known is not None and known.state == "failed" and known.reason != "deadline" and self._fresh(known):
            return Away(holder, known.reason, known.changed_at)
        return None

    async def bring(self, listed: ListedInstance, *, whole: bool = False, priority: int = 0) -> InstanceDocument:
        """The instance with its bytes in the centre.

        Parameters
        ----------
        whole
            The rest of its series, and then of its study, is wanted after it.

        Raises
        ------
        HolderAway
            The holder cannot give it, or not in time.
        """
        if isinstance(listed, InstanceDocument):
            return listed
        async with self._at(listed.holder, listed.study_uid) as desk:
            if found := await self._index.located([listed.id]):
                return found[0]
            if away := self.away(listed.holder, listed.study_uid):
                raise HolderAway(away)
            future = desk.wait_for(listed)
            with measured_wait(listed.holder):
                try:
                    await self._ask(desk, [listed], whole=whole, priority=priority)
                    return await asyncio.wait_for(asyncio.shield(future), self.bounds.frame)
                except TimeoutError as error:
                    raise HolderAway(self._no_answer(listed)) from error
                finally:
                    desk.leave(listed.id)

    async def each(
        self, listed: Sequence[ListedInstance], *, whole: bool = False, priority: int = 0
    ) -> AsyncIterator[InstanceDocument]:
        """The instances of one study at one holder, in the order in which they land.

        Raises
        ------
        HolderAway
            Some are not here and do not come.
        """
        if not listed:
            return
        async with self._at(listed[0].holder, listed[0].study_uid) as desk:
            if away := self.away(listed[0].holder, listed[0].study_uid):
                raise HolderAway(away)
            pending = {desk.wait_for(one) for one in listed}
            try:
                await self._ask(desk, listed, whole=whole, priority=priority)
                while pending:
                    done, pending = await asyncio.wait(
                        pending, timeout=self.bounds.silence, return_when=asyncio.FIRST_COMPLETED
                    )
                    if not done:
                        raise HolderAway(self._no_answer(listed[0]))
                    for future in done:
                        yield future.result()
            finally:
                for one in listed:
                    desk.leave(one.id)

    @asynccontextmanager
    async def viewing(self, holder: str, study_uid: str) -> AsyncIterator[None]:
        """Somebody has the study open: what was asked for them goes on while they are there."""
        async with self._at(holder, study_uid) as desk:
            desk.leased = True
            yield

    async def warm(self, document: StudyDocument) -> None:
        """Somebody is about to look: ask for the study, of each series what a viewer shows first before all else."""
        if document.tier == "central" or document.online_count >= document.instance_count:
            return
        if self.away(document.holder, document.study_uid):
            return
        shown: list[ListedInstance] = []
        for series in (await self._index.series_of([document.id]))[: MAX_FIRST // 2]:
            listed = await self._index.instances_of(series.id)
            shown += [one for one in (*listed[:1], *listed[len(listed) // 2 :][:1]) if one.location is None]
        if shown:
            async with self._at(document.holder, document.study_uid) as desk:
                await self._ask(desk, shown, whole=True, priority=VIEW, at_once=MAX_FIRST)

    async def prefetch(self, document: StudyDocument) -> bool:
        """Have a study brought at low priority; False: it is here, or its holder cannot be asked now."""
        if document.tier == "central" or document.online_count >= document.instance_count:
            return False
        if self.away(document.holder, document.study_uid):
            return False
        now = self._clock()
        until = now + timedelta(seconds=self.bounds.prefetch)
        await self._publish_if(
            await self._store.ask(
                Want(document.holder, document.study_uid, priority=PREFETCH),
                now,
                lasts=timedelta(seconds=self.bounds.lasts),
                lease="prefetch",
                until=until,
            )
        )
        return True

    async def retrievals(self, keys: Sequence[str]) -> dict[str, Retrieval]:
        """The retrievals of studies, as far as there are any; the newest that this copy heard."""
        return await self._store.find(keys)

    async def study_changed(self, event: StudyChanged) -> None:
        """The index has changed: whoever waits looks."""
        if desk := self._desks.get(f"{event.holder}/{event.study_uid}"):
            desk.wake()

    async def progressed(self, holder: str, event: RetrieveProgressed) -> None:
        """A hospital says how far it is."""
        key = f"{holder}/{event.study_uid}"
        await self._store.progressed(holder, event, self._clock())
        if desk := self._desks.get(key):
            desk.wake()
            if event.state in ("done", "cancelled"):
                if desk.asked is not None:
                    await self._measure(holder, event)
                desk.asked = None
            if event.state == "done" and event.missing:
                desk.fail(Away(holder, "not-given", self._clock()), event.missing)

    async def _measure(self, holder: str, event: RetrieveProgressed) -> None:
        """A retrieval that this copy asked for has ended."""
        RETRIEVALS.labels(holder, event.state).inc()
        RETRIEVED_BYTES.labels(holder).inc(event.bytes_done)
        known = (await self._store.find([f"{holder}/{event.study_uid}"])).get(f"{holder}/{event.study_uid}")
        if event.state == "done" and known is not None and known.retrieval_id == event.retrieval_id:
            seconds = (self._clock() - known.requested_at).total_seconds()
            WHOLE_SECONDS.labels(holder).observe(max(0.0, seconds))

    async def failed(self, holder: str, event: RetrieveFailed) -> None:
        """A hospital gives up."""
        key = f"{holder}/{event.study_uid}"
        await self._store.failed(holder, event, self._clock())
        known = (await self._store.find([key])).get(key)
        if known is None or known.retrieval_id != event.retrieval_id:
            return
        self._remember(known)
        if desk := self._desks.get(key):
            if desk.asked is not None:
                RETRIEVALS.labels(holder, event.reason).inc()
            desk.asked = None
            desk.fail(Away(holder, event.reason, self._clock()))

    @asynccontextmanager
    async def _at(self, holder: str, study_uid: str) -> AsyncIterator[Desk]:
        """The study's desk, held open."""
        key = f"{holder}/{study_uid}"
        desk = self._desks.get(key)
        if desk is None:
            desk = Desk(key, self._index.located, poll_seconds=self.bounds.poll, now=self._clock())
            self._desks[key] = desk
        desk.people += 1
        try:
            yield desk
        finally:
            desk.people -= 1
            desk.idle_since = self._clock()

    async def _ask(
        self, desk: Desk, listed: Sequence[ListedInstance], *, whole: bool, priority: int, at_once: int = 1
    ) -> None:
        """Ask at once when this copy has not asked yet or wants more; else with the next revision.

        With `whole`, the series of the first instance comes before the rest of the study.
        """
        first = listed[0]
        async with desk.asking:
            if _covers(desk.asked, listed, priority, whole=whole):
                if desk.flush is None or desk.flush.done():
                    desk.flush = self._start(self._flush_soon(desk))
                return
            series = await wanted_series(self._index, desk.key, listed, whole=whole)
            if desk.asked is not None:
                priority = min(priority, desk.asked.priority)
                series = union(list(desk.asked.series), series)
                whole = whole or desk.asked.whole
            first_uids = tuple(one.sop_instance_uid for one in listed[:at_once])
            want = Want(first.holder, first.study_uid, tuple(series), first_uids, priority, whole)
            desk.asked = want
            await self._request(desk, want)

    async def _flush_soon(self, desk: Desk) -> None:
        """What is waited for by now goes first; collected for a moment."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(self.bounds.debounce, desk.asked_at + self.bounds.pause - loop.time()))
        waiting = tuple(_oldest_and_newest(desk.waiting))
        if waiting and desk.asked is not None:
            await self._request(desk, replace(desk.asked, first=waiting))

    async def _request(self, desk: Desk, want: Want) -> None:
        now = self._clock()
        desk.asked_at = asyncio.get_running_loop().time()
        desk.leased = True
        answer = await self._store.ask(
            want,
            now,
            lasts=timedelta(seconds=self.bounds.lasts),
            lease=self._copy,
            until=now + timedelta(seconds=self.bounds.lease),
        )
        await self._publish_if(answer)

    async def _publish_if(self, answer: tuple[Retrieval, bool]) -> None:
        retrieval, tell = answer
        self._remember(retrieval)
        if tell:
            self._start(self._publish(retrieval))

    async def _publish(self, retrieval: Retrieval) -> None:
        """Tell the hospital; a failure is made good by the next round of `Upkeep`."""
        topic = f"edge-commands-{retrieval.holder}"
        await self._publisher.publish(topic, retrieval.event(), retrieval.study_uid)

    def _start(self, work: Awaitable[None]) -> asyncio.Task[None]:
        async def run() -> None:
            try:
                await work
            except (ImagingError, PyMongoError) as error:
                _log.warning("retrieval-not-told", error=type(error).__name__)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _fresh(self, known: Retrieval) -> bool:
        return (self._clock() - known.changed_at).total_seconds() < self.bounds.refusal

    def _remember(self, retrieval: Retrieval) -> None:
        self._known.pop(retrieval.key, None)
        self._known[retrieval.key] = retrieval
        while len(self._known) > 10_000:
            del self._known[next(iter(self._known))]

    def _no_answer(self, listed: ListedInstance) -> Away:
        return self.edges.away(listed.holder) or Away(listed.holder, "no-answer", None)


def _oldest_and_newest(uids: list[str]) -> list[str]:
    """Few of many: who has waited longest, and what somebody has just turned to."""
    half = MAX_FIRST // 4
    return uids if len(uids) <= 2 * half else [*uids[-half:], *uids[:half]]


def _covers(asked: Want | None, listed: Sequence[ListedInstance], priority: int, *, whole: bool) -> bool:
    """Whether what this copy has asked for holds what is wanted now."""
    if asked is None or priority < asked.priority or (whole and not asked.whole):
        return False
    known = {one.series_uid: set(one.instances) for one in asked.series}
    return all(
        one.series_uid in known and (not known[one.series_uid] or one.sop_instance_uid in known[one.series_uid])
        for one in listed
    )
