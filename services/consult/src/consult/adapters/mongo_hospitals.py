"""`HospitalBook` on MongoDB: collection `hospitals`."""

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError


class MongoHospitalBook:
    """One document per hospital, the latest revision."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._hospitals = database["hospitals"]

    async def keep(self, hospital: str, revision: int, level: str) -> bool:
        """See `HospitalBook.keep`."""
        older = {"_id": hospital, "$or": [{"revision": {"$lt": revision}}, {"level": None}]}
        try:
            change = {"$set": {"revision": revision, "level": level}}
            await self._hospitals.update_one(older, change, upsert=True)
        except DuplicateKeyError:
            return False
        return True

    async def knows(self, hospital: str) -> bool:
        """See `HospitalBook.knows`."""
        return await self._hospitals.find_one({"_id": hospital}, {"_id": 1}) is not None

    async def level(self, hospital: str) -> str | None:
        """See `HospitalBook.level`."""
        found = await self._hospitals.find_one({"_id": hospital}, {"level": 1})
        return str(found.get("level") or "community") if found else None

    async def at_level(self, level: str) -> list[str]:
        """See `HospitalBook.at_level`."""
        return [str(one["_id"]) async for one in self._hospitals.find({"level": level}, {"_id": 1}).sort("_id", 1)]
