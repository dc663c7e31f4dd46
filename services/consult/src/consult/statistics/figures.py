"""`Figures` by MongoDB aggregation over the cases themselves."""

from typing import Any, Protocol

from pymongo.asynchronous.database import AsyncDatabase

from consult.model import Action
from consult.statistics.model import Asked, By, Group

HOUR_MILLISECONDS = 3_600_000
_ISSUES = {"$filter": {"input": "$timeline", "as": "step", "cond": {"$eq": ["$$step.action", Action.ISSUE]}}}
_ISSUED_AT = {"$first": {"$map": {"input": _ISSUES, "as": "step", "in": "$$step.at"}}}
"""The first version's: an amendment does not make a case longer."""
_OWN_AND_LATE = {"$and": ["$$limit.overdue", {"$ne": ["$$limit.name", "critical"]}]}
_LATE = {
    "$gt": [
        {"$size": {"$filter": {"input": {"$ifNull": ["$limits", []]}, "as": "limit", "cond": _OWN_AND_LATE}}},
        0,
    ]
}
"""A critical value's confirmation is the applicant's to give."""


class Figures(Protocol):
    """Counts cases."""

    async def groups(self, asked: Asked) -> list[Group]:
        """One per key, sorted by it."""
        ...


class MongoFigures:
    """`Figures` over the collection `consults`."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], time_zone: str) -> None:
        self._consults = database["consults"]
        self._time_zone = time_zone

    async def prepare(self) -> None:
        """Make the index."""
        await self._consults.create_index([("submitted_at", 1), ("consultant_hospital", 1)])

    async def groups(self, asked: Asked) -> list[Group]:
        """See `Figures.groups`."""
        cursor = await self._consults.aggregate(self._stages(asked), allowDiskUse=True)
        return [
            Group(str(one["_id"]), str(one["name"] or ""), one["count"], one["overdue"], one["hours"])
            async for one in cursor
        ]

    def _stages(self, asked: Asked) -> list[dict[str, Any]]:
        wanted: dict[str, Any] = {"submitted_at": {"$gte": asked.since, "$lt": asked.before}}
        if asked.hospital is not None:
            wanted["consultant_hospital"] = asked.hospital
        if asked.by is By.EXPERT:
            wanted["expert"] = {"$ne": None}
        took = {"$divide": [{"$subtract": [_ISSUED_AT, "$submitted_at"]}, HOUR_MILLISECONDS]}
        return [
            {"$match": wanted},
            {"$project": {"key": self._key(asked.by), "name": self._name(asked.by), "late": _LATE, "took": took}},
            {
                "$group": {
                    "_id": "$key",
                    "name": {"$max": "$name"},
                    "count": {"$sum": 1},
                    "overdue": {"$sum": {"$cond": ["$late", 1, 0]}},
                    "took": {"$push": "$took"},
                }
            },
            {
                "$project": {
                    "name": 1,
                    "count": 1,
                    "overdue": 1,
                    "hours": {"$filter": {"input": "$took", "as": "one", "cond": {"$ne": ["$$one", None]}}},
                }
            },
            {"$sort": {"_id": 1}},
        ]

    def _key(self, by: By) -> Any:
        match by:
            case By.HOSPITAL:
                return "$consultant_hospital"
            case By.EXPERT:
                return "$expert"
            case _:
                month = {"date": "$submitted_at", "format": "%Y-%m", "timezone": self._time_zone}
                return {"$dateToString": month}

    def _name(self, by: By) -> Any:
        return "$expert_name" if by is By.EXPERT else {"$literal": ""}
