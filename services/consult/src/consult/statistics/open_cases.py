"""Metrics of the cases that are open now; every copy of the service shows the same."""

from typing import Any

from prometheus_client import Gauge
from pymongo.asynchronous.database import AsyncDatabase

from consult.model import State

OPEN = Gauge("imaging_consult_open_cases", "Cases that are open now.", ["hospital", "state"])
OVERDUE = Gauge("imaging_consult_overdue_cases", "Open cases of which a time limit is over.", ["hospital"])
ENDED = (State.DRAFT, State.ACKNOWLEDGED, State.REJECTED, State.WITHDRAWN)
DEADLINE_MS = 10_000


class OpenCases:
    """Counts the open cases; every copy of the service shows the same."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._consults = database["consults"]
        self._shown: set[tuple[str, str]] = set()

    async def show(self) -> None:
        """Set the gauges anew."""
        key = {"hospital": "$consultant_hospital", "state": "$state"}
        group = {"_id": key, "count": {"$sum": 1}, "overdue": {"$sum": {"$cond": ["$overdue", 1, 0]}}}
        wanted = {"state": {"$nin": [str(state) for state in ENDED]}}
        cursor = await self._consults.aggregate([{"$match": wanted}, {"$group": group}], maxTimeMS=DEADLINE_MS)
        rows = [one async for one in cursor]
        self.set({(one["_id"]["hospital"], one["_id"]["state"]): (one["count"], one["overdue"]) for one in rows})

    def set(self, counts: dict[tuple[str, str], tuple[int, int]]) -> None:
        """Per hospital that was asked and state: open cases, and those of them that are late."""
        self._shown |= counts.keys()
        overdue = dict.fromkeys((hospital for hospital, _ in self._shown), 0)
        for hospital, state in self._shown:
            count, late = counts.get((hospital, state), (0, 0))
            OPEN.labels(hospital, state).set(count)
            overdue[hospital] += late
        for hospital, late in overdue.items():
            OVERDUE.labels(hospital).set(late)
