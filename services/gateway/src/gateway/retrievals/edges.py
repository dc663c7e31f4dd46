"""Which hospital can be asked now: from the heartbeats of its edge agent, and from what it last refused."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.retrievals.measures import show_age, show_heartbeat
from gateway.retrievals.model import Away
from gateway.retrievals.ports import EdgeStore
from imaging_common.events import EdgeHeartbeat

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Now, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class EdgeState:
    """The last that was heard of a hospital."""

    heartbeat: EdgeHeartbeat
    heard_at: datetime
    """By this copy's clock."""


class Edges:
    """What this copy of the gateway knows of the hospitals' edge agents.

    Parameters
    ----------
    interval_seconds
        Between two heartbeats of an agent; after three without one the hospital counts as offline.
    """

    MISSED = 3

    def __init__(self, store: EdgeStore, *, interval_seconds: float, clock: Clock = utc_now) -> None:
        self._store = store
        self._clock = clock
        self._silence = timedelta(seconds=interval_seconds * self.MISSED)
        self._began = clock()
        self._known: dict[str, EdgeState] = {}
        self._told: dict[str, str] = {}

    async def load(self) -> None:
        """Take over what other copies have heard."""
        for hospital, (heartbeat, at) in (await self._store.all()).items():
            self._take(hospital, EdgeState(heartbeat, at))

    async def heard(self, hospital: str, heartbeat: EdgeHeartbeat) -> bool:
        """An agent spoke, just now; whether that changes what can be asked."""
        before = self.away(hospital)
        self._take(hospital, EdgeState(heartbeat, self._clock()))
        await self._store.heard(hospital, heartbeat, self._clock())
        after = self.away(hospital)
        return (before and before.reason) != (after and after.reason)

    def turned(self) -> list[str]:
        """The hospitals that fell silent, or can be asked again, since the last call."""
        for hospital, state in self._known.items():
            self._show_age(hospital, state)
        now = {hospital: away.reason if (away := self.away(hospital)) else "" for hospital in self._known}
        found = [hospital for hospital, reason in now.items() if self._told.get(hospital, "") != reason]
        self._told = now
        return found

    def state(self, hospital: str) -> EdgeState | None:
        """The last that was heard; None: nothing."""
        return self._known.get(hospital)

    def away(self, hospital: str) -> Away | None:
        """Why the hospital cannot be asked now; None: it can.

        An agent that was never heard has the same time from this copy's start on to speak.
        """
        known = self._known.get(hospital)
        heard_at = known.heard_at if known else self._began
        if self._clock() - heard_at > self._silence:
            return Away(hospital, "edge-offline", known.heard_at if known else None)
        pacs = known.heartbeat.pacs if known else None
        if pacs is not None and not pacs.reachable:
            return Away(hospital, "pacs-unreachable", pacs.since)
        return None

    def _take(self, hospital: str, state: EdgeState) -> None:
        known = self._known.get(hospital)
        if known is None or known.heard_at <= state.heard_at:
            self._known[hospital] = state
            show_heartbeat(hospital, state.heartbeat)
            self._show_age(hospital, state)

    def _show_age(self, hospital: str, state: EdgeState) -> None:
        now = self._clock()
        up = now - state.heard_at <= self._silence
        show_age(hospital, state.heartbeat, state.heard_at, now, up=up)
