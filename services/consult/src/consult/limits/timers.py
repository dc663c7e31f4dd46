"""When each case is to be looked at next: one timer per case, written in the transaction that changes its limits.

What is due is told by the case itself (`model.taken`), whose change is compare-and-set: a timer that rings twice, or
for a case that has moved on, does nothing.
"""

from datetime import datetime
from typing import Any, Protocol

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from consult.ports import Writing


class Timers(Protocol):
    """Timers by the case's id."""

    async def claim(self, now: datetime, until: datetime) -> str | None:
        """The case whose timer is due first, for this caller alone until then; None: none is due."""
        ...

    def write(self, consult_id: str, at: datetime | None) -> Writing:
        """Set a case's timer, or take it away (None), within a transaction that changes the case."""
        ...


class MongoTimers:
    """`Timers` on MongoDB: collection `timers`."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._timers = database["timers"]

    async def prepare(self) -> None:
        """Make the index."""
        await self._timers.create_index([("at", 1)])

    async def claim(self, now: datetime, until: datetime) -> str | None:
        """See `Timers.claim`: it becomes due again at the end of the lease, unless it was written meanwhile."""
        found = await self._timers.find_one_and_update({"at": {"$lte": now}}, {"$set": {"at": until}}, sort=[("at", 1)])
        return str(found["_id"]) if found else None

    def write(self, consult_id: str, at: datetime | None) -> Writing:
        """See `Timers.write`."""

        async def write(session: AsyncClientSession) -> None:
            if at is None:
                await self._timers.delete_one({"_id": consult_id}, session=session)
            else:
                await self._timers.replace_one({"_id": consult_id}, {"at": at}, upsert=True, session=session)

        return write


class FakeTimers:
    """`Timers` in memory."""

    def __init__(self) -> None:
        self.at: dict[str, datetime] = {}

    async def claim(self, now: datetime, until: datetime) -> str | None:
        """See `Timers.claim`."""
        due = sorted((at, consult_id) for consult_id, at in self.at.items() if at <= now)
        if not due:
            return None
        self.at[due[0][1]] = until
        return due[0][1]

    def write(self, consult_id: str, at: datetime | None) -> Writing:
        """See `Timers.write`."""

        async def write(_: AsyncClientSession) -> None:
            self.at.pop(consult_id, None)
            if at is not None:
                self.at[consult_id] = at

        return write
