"""`HospitalBook` on MongoDB: collection `hospitals`."""

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError


class MongoHospitalBook:
    """One document per hospital, the latest revision."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._hospitals = database["hospitals"]

    async def keep(self, hospital: str, revision: int) -> bool:
        """See `HospitalBook.keep`."""
        older = {"_id": hospital, "revision": {"$lt": revision}}
        try:
            await self._hospitals.update_one(older, {"$set": {"revision": revision}}, upsert=True)
        except DuplicateKeyError:
            return False
        return True

    async def knows(self, hospital: str) -> bool:
        """See `HospitalBook.knows`."""
        return await self._hospitals.find_one({"_id": hospital}, {"_id": 1}) is not None
