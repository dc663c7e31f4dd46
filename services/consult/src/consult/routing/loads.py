"""How much everybody has to do: open cases per expert and hospital, counted in the cases themselves."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

from pymongo.asynchronous.database import AsyncDatabase

from consult.model import ENDED, Consult, State

IDLE = ENDED | {State.DRAFT, State.ISSUED}
"""States in which a case is no work for those who were asked."""


class Loads(Protocol):
    """Counts open cases. A case that was sent to somebody is theirs before they take it."""

    async def of_experts(self) -> dict[str, int]:
        """User to their open cases; who has none is left out."""
        ...

    async def of_hospitals(self) -> dict[str, int]:
        """Hospital that was asked to its open cases."""
        ...


class MongoLoads:
    """`Loads` over the collection `consults`."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._consults = database["consults"]

    async def of_experts(self) -> dict[str, int]:
        """See `Loads.of_experts`."""
        return await self._count({"$ifNull": ["$expert", "$nominee"]})

    async def of_hospitals(self) -> dict[str, int]:
        """See `Loads.of_hospitals`."""
        return await self._count("$consultant_hospital")

    async def _count(self, by: Any) -> dict[str, int]:
        stages = [
            {"$match": {"state": {"$nin": sorted(IDLE)}}},
            {"$group": {"_id": by, "count": {"$sum": 1}}},
        ]
        cursor = await self._consults.aggregate(stages)
        return {str(one["_id"]): int(one["count"]) async for one in cursor if one["_id"]}


class FakeLoads:
    """`Loads` over cases in memory."""

    def __init__(self, cases: dict[str, Consult]) -> None:
        self._cases = cases

    async def of_experts(self) -> dict[str, int]:
        """See `Loads.of_experts`."""
        return self._count(one.expert or one.nominee for one in self._open())

    async def of_hospitals(self) -> dict[str, int]:
        """See `Loads.of_hospitals`."""
        return self._count(one.consultant_hospital for one in self._open())

    def _open(self) -> list[Consult]:
        return [one for one in self._cases.values() if one.state not in IDLE]

    @staticmethod
    def _count(keys: Iterable[str]) -> dict[str, int]:
        return dict(Counter(key for key in keys if key))
