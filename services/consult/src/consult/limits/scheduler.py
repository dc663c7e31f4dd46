"""Takes the steps of time limits when they are due: in every copy of the service, each step once.

A timer is claimed for a while, so that copies seldom do the same work. That no step is taken twice does not depend on
it: marks, events and the next timer are one compare-and-set transaction on the case. A copy that dies leaves the timer
to the others; while all are down, steps wait, and are taken late but all.
"""

from datetime import timedelta

import structlog

from consult.limits.model import next_due, taken
from consult.limits.timers import Timers
from consult.ports import Change, Clock, ConsultStore
from consult.usecases.measuring import LIMITS
from consult.usecases.outgoing import TOPIC, consult_event
from imaging_common.events import ConsultTimeLimit
from imaging_common.repeating import Repeating

LEASE = timedelta(seconds=20)
ATTEMPTS = 8
"""How often a case is read anew because somebody changed it meanwhile; after that the lease runs out."""
_log = structlog.get_logger(__name__)


class Scheduler:
    """One loop per copy of the service; times are the service's own (`clock`), as those of the transitions."""

    def __init__(self, store: ConsultStore, timers: Timers, clock: Clock, poll_seconds: float = 1.0) -> None:
        self._store = store
        self._timers = timers
        self._clock = clock
        self._loop = Repeating("time-limits", self.take_due, poll_seconds)

    async def start(self) -> None:
        """Begin to take what is due."""
        await self._loop.start()

    async def stop(self) -> None:
        """Stop; what is due stays due."""
        await self._loop.stop()

    async def take_due(self) -> int:
        """Every step that is due now; how many were taken. A case that cannot be read does not hold up the others."""
        count = 0
        while (consult_id := await self._timers.claim(self._clock(), self._clock() + LEASE)) is not None:
            try:
                count += await self._take(consult_id)
            except ValueError:
                _log.exception("time-limit-not-taken", consult_id=consult_id)
        return count

    async def _take(self, consult_id: str) -> int:
        for _ in range(ATTEMPTS):
            case = await self._store.get(consult_id)
            if case is None:
                raise ValueError("a timer of a case that does not exist")
            now = self._clock()
            after, steps = taken(case, now)
            events = [
                consult_event(ConsultTimeLimit, after, now, limit=limit.name, step=step, due_at=limit.due_at)
                for limit, step in steps
            ]
            change = Change(case, after, [(TOPIC, event, after.id) for event in events])
            timer = self._timers.write(after.id, next_due(after))
            if await self._store.commit([change], writes=[timer]):
                for limit, step in steps:
                    LIMITS.labels(limit.name, step).inc()
                return len(steps)
        return 0
