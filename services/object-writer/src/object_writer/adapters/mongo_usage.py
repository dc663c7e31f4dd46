"""`StorageSums` over the ledgers' collections `packs`, `batches` and `cache_studies`."""

from datetime import datetime
from typing import Any

from pymongo import AsyncMongoClient

from imaging_common.events import TierUsage
from imaging_common.events.storage import Tier
from object_writer.adapters.transactions import Document

DEADLINE_MS = 60_000
HELD: dict[Tier, tuple[str, Document, str, str]] = {
    "archive": ("packs", {"gone": {"$ne": True}}, "$series", "stored_bytes"),
    "staging": ("batches", {"open": True}, "$_id", "stored_bytes"),
    "cache": ("cache_studies", {"bytes": {"$gt": 0}}, "$_id", "bytes"),
}
"""Tier → collection, what of it lies there, the field that begins with `<hospital>/`, the field with its bytes."""


class MongoStorageSums:
    """One pass over each collection; what was noted before its size was counts with the bytes as received, or none."""

    def __init__(self, client: AsyncMongoClient[Document], database: str) -> None:
        self._db = client[database]

    async def usage(self) -> list[TierUsage]:
        """See `StorageSums.usage`."""
        return [one for tier in HELD for one in await self._of(tier)]

    async def oldest_waiting(self) -> datetime | None:
        """See `StorageSums.oldest_waiting`."""
        found = await self._db["series"].find_one(
            {"waiting": {"$gt": 0}}, {"last_received_at": 1}, sort=[("last_received_at", 1)], max_time_ms=DEADLINE_MS
        )
        return found["last_received_at"] if found else None

    async def _of(self, tier: Tier) -> list[TierUsage]:
        collection, where, name, size = HELD[tier]
        group: dict[str, Any] = {
            "_id": {"$arrayElemAt": [{"$split": [name, "/"]}, 0]},
            "bytes": {"$sum": {"$ifNull": [f"${size}", {"$ifNull": ["$bytes", 0]}]}},
            "objects": {"$sum": 1},
        }
        pipeline = [{"$match": where}, {"$group": group}, {"$sort": {"_id": 1}}]
        cursor = await self._db[collection].aggregate(pipeline, maxTimeMS=DEADLINE_MS)
        return [
            TierUsage(hospital=found["_id"], tier=tier, bytes=found["bytes"], objects=found["objects"])
            async for found in cursor
        ]
