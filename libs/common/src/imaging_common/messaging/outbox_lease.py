"""Which of a service's copies relays the outbox: a lease in MongoDB, by the server's clock."""

import asyncio
from typing import Any
from uuid import uuid4

import structlog
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

_log = structlog.get_logger(__name__)
LEASE_SECONDS = 5
RENEW_SECONDS = 2.5
"""So long before its end a lease is renewed; until then nobody asks for it."""
RETURN_SECONDS = 2.0


class RelayLease:
    """Held by one process at a time, in the document `lease` of the collection."""

    def __init__(self, collection: AsyncCollection[dict[str, Any]]) -> None:
        self._collection = collection
        self._owner = uuid4().hex
        self._ends = 0.0

    @property
    def held(self) -> bool:
        """Whether nobody else can have it at this moment."""
        return asyncio.get_running_loop().time() <= self._ends

    async def take(self) -> bool:
        """Hold it for at least `RENEW_SECONDS`; False: another process has it."""
        asked = asyncio.get_running_loop().time()
        if asked < self._ends - RENEW_SECONDS:
            return True
        lease = await self._collection.find_one_and_update(
            {"_id": "lease"},
            [
                {
                    "$set": {
                        "mine": {
                            "$or": [
                                {"$eq": ["$owner", self._owner]},
                                {"$lt": [{"$ifNull": ["$until", 0]}, {"$toLong": "$$NOW"}]},
                            ]
                        }
                    }
                },
                {
                    "$set": {
                        "owner": {"$cond": ["$mine", self._owner, "$owner"]},
                        "until": {"$cond": ["$mine", {"$add": [{"$toLong": "$$NOW"}, LEASE_SECONDS * 1000]}, "$until"]},
                    }
                },
            ],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        if lease is None or lease["owner"] != self._owner:
            self._ends = 0.0
            return False
        self._ends = asked + LEASE_SECONDS
        return True

    async def give_back(self) -> None:
        """Let another copy take it at once."""
        self._ends = 0.0
        try:
            async with asyncio.timeout(RETURN_SECONDS):
                await self._collection.delete_one({"_id": "lease", "owner": self._owner})
        except (PyMongoError, TimeoutError) as error:
            _log.info("lease-not-returned", error=type(error).__name__)
