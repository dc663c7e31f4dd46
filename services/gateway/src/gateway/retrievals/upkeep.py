"""Looks after retrievals: leases renewed, hospitals told again, what nobody wants cancelled."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime, timedelta

import structlog
from pymongo.errors import PyMongoError

from gateway.retrievals.bounds import Bounds
from gateway.retrievals.desk import Desk
from gateway.retrievals.edges import Clock, Edges
from gateway.retrievals.model import Retrieval
from gateway.retrievals.ports import RetrievalStore
from imaging_common.errors import ImagingError
from imaging_common.events import RetrieveCancelled
from imaging_common.messaging import EventPublisher

_log = structlog.get_logger(__name__)


class Upkeep:
    """One copy's rounds.

    `copy` names its leases, `desks` are its waiting rooms; `turned` is told of a hospital that fell silent or speaks
    again.
    """

    def __init__(
        self,
        store: RetrievalStore,
        publisher: EventPublisher,
        edges: Edges,
        bounds: Bounds,
        clock: Clock,
        copy: str,
        desks: MutableMapping[str, Desk],
        turned: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._edges = edges
        self._bounds = bounds
        self._clock = clock
        self._copy = copy
        self._desks = desks
        self._turned = turned

    async def run(self) -> None:
        """Once every `tick` until cancelled."""
        while True:
            await asyncio.sleep(self._bounds.tick)
            try:
                await self.once()
            except (ImagingError, PyMongoError) as error:
                _log.warning("retrievals-not-looked-after", error=type(error).__name__)

    async def once(self) -> None:
        """Renew this copy's leases, tell hospitals again that did not answer, cancel what nobody wants."""
        now = self._clock()
        for hospital in self._edges.turned():
            if self._turned is not None:
                await self._turned(hospital)
        for desk in list(self._desks.values()):
            await self._renew(desk, now)
        for retrieval in await self._store.live():
            topic = f"edge-commands-{retrieval.holder}"
            if now > retrieval.deadline or not retrieval.wanted(now):
                if await self._store.cancel(retrieval, now):
                    event = RetrieveCancelled(retrieval_id=retrieval.retrieval_id, study_uid=retrieval.study_uid)
                    await self._publisher.publish(topic, event, retrieval.study_uid)
            elif self._unanswered(retrieval, now) and (again := await self._store.republish(retrieval, now)):
                await self._publisher.publish(topic, again.event(), again.study_uid)

    async def _renew(self, desk: Desk, now: datetime) -> None:
        holder = desk.key.partition("/")[0]
        if desk.people:
            if away := self._edges.away(holder):
                desk.fail(away)
            if desk.leased:
                await self._store.lease(desk.key, self._copy, now + timedelta(seconds=self._bounds.lease))
        elif (now - desk.idle_since).total_seconds() > self._bounds.linger:
            if desk.leased:
                await self._store.lease(desk.key, self._copy, now - timedelta(seconds=1))
            if not desk.people and self._desks.get(desk.key) is desk:
                del self._desks[desk.key]
                await desk.stop()
        elif desk.leased:
            await self._store.lease(desk.key, self._copy, now + timedelta(seconds=self._bounds.lease))

    def _unanswered(self, retrieval: Retrieval, now: datetime) -> bool:
        silent = (now - retrieval.published_at).total_seconds()
        heard = (now - max(retrieval.changed_at, retrieval.published_at)).total_seconds()
        return silent > self._bounds.answer and (not retrieval.answered or heard > 6 * self._bounds.answer)
