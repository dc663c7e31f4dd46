"""`CacheLedger` on MongoDB: collections `cache_batches`, `cache_studies`, `turns`; every change with its events."""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from imaging_common.messaging.outbox import Outbox
from imaging_common.mongo import ensure_index
from imaging_common.objects.model import Manifest
from object_writer.adapters.transactions import Document, Transactions
from object_writer.eviction import CachedStudy
from object_writer.ports.cache_ledger import Idle

BATCH_INDEXES = (("study", "evicted_at"), ("evicted_at",))
STUDY_INDEXES = (("hospital", "used_at"), ("hospital", "bytes"), ("archived", "used_at"))
CACHED: Document = {"bytes": {"$gt": 0}}
"""Most studies that are known here have no copies at the moment: they are in no index."""


class MongoCacheLedger:
    """Shares its database with `MongoLedger` and `MongoDeletions`, and reads their policies and holds."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, outbox: Outbox, lease_seconds: float) -> None:
        self._db = client[database]
        self._transactions = Transactions(client, outbox)
        self._lease = timedelta(seconds=lease_seconds)
        self._me = uuid4().hex

    async def prepare(self) -> None:
        """Make the indexes."""
        for fields in BATCH_INDEXES:
            await self._db["cache_batches"].create_index([(field, 1) for field in fields])
        for fields in STUDY_INDEXES:
            index = [(field, 1) for field in fields]
            await ensure_index(self._db["cache_studies"], index, partialFilterExpression=CACHED)

    async def note_batch(self, manifest: Manifest, manifest_key: str) -> None:
        """See `CacheLedger.note_batch`."""
        study_id = f"{manifest.hospital}/{manifest.study_uid}"
        size = sum(instance.length for instance in manifest.instances)
        names = [(instance.sop_instance_uid, instance.sha256) for instance in manifest.instances]
        batch = {"study": study_id, "bytes": size, "instances": [uid for uid, _ in names], "evicted_at": None}

        async def write(session: AsyncClientSession) -> None:
            now = datetime.now(UTC)
            noted = await self._db["cache_batches"].update_one(
                {"_id": manifest_key}, {"$setOnInsert": {**batch, "noted_at": now}}, upsert=True, session=session
            )
            if noted.upserted_id is not None:
                archived = await self._db["instances"].find_one(_located(study_id), {"_id": 1}, session=session)
                change: Document = {"$inc": {"bytes": size}, "$max": {"arrived_at": now, "used_at": now}}
                if archived is not None:
                    change["$set"] = {"archived": True}
                await self._update(study_id, change, session)
            await self._transactions.tell_stored(manifest.hospital, manifest.study_uid, names, session)

        await self._transactions.run(write)

    async def known_batches(self, manifest_keys: Collection[str]) -> set[str]:
        """See `CacheLedger.known_batches`."""
        found = self._db["cache_batches"].find({"_id": {"$in": list(manifest_keys)}}, {"_id": 1})
        return {document["_id"] async for document in found}

    async def note_opened(self, hospital: str, study_uid: str, at: datetime) -> None:
        """See `CacheLedger.note_opened`; a clock that is ahead counts as now."""
        at = min(at, datetime.now(UTC))
        await self._update(f"{hospital}/{study_uid}", {"$max": {"opened_at": at, "used_at": at}})

    async def pin(self, hospital: str, study_uid: str, case_id: str) -> None:
        """See `CacheLedger.pin`."""
        await self._update(f"{hospital}/{study_uid}", {"$addToSet": {"pins": case_id}})

    async def release(self, hospital: str, study_uid: str, case_id: str) -> None:
        """See `CacheLedger.release`."""
        await self._db["cache_studies"].update_one({"_id": f"{hospital}/{study_uid}"}, {"$pull": {"pins": case_id}})

    async def totals(self) -> dict[str, int]:
        """See `CacheLedger.totals`."""
        cursor = await self._db["cache_studies"].aggregate(
            [
                {"$match": CACHED},
                {"$sort": {"hospital": 1}},
                {"$group": {"_id": "$hospital", "bytes": {"$sum": "$bytes"}}},
            ]
        )
        return {document["_id"]: document["bytes"] async for document in cursor}

    async def evictable(self, hospital: str, idle: Idle, limit: int) -> list[CachedStudy]:
        """See `CacheLedger.evictable`."""
        held = await self._db["study_commands"].distinct("_id", {"hospital": hospital, "held": True})
        return await self._idle({"hospital": hospital, "_id": {"$nin": held}}, idle, limit)

    async def redundant(self, idle: Idle, limit: int) -> list[CachedStudy]:
        """See `CacheLedger.redundant`."""
        held = await self._db["study_commands"].distinct("_id", {"held": True})
        found = await self._idle({"archived": True, "_id": {"$nin": held}}, idle, limit)
        return [study for study in found if await self._is_in_archive(study.id)]

    async def _is_in_archive(self, study_id: str) -> bool:
        where = {"study": study_id, "evicted_at": None}
        cached = await self._db["cache_batches"].distinct("instances", where)
        located = await self._db["instances"].distinct("sop_instance_uid", _located(study_id))
        return set(cached) <= set(located)

    async def _idle(self, where: Document, idle: Idle, limit: int) -> list[CachedStudy]:
        found = self._db["cache_studies"].find({**where, **_needless(idle)}).sort("used_at", 1).limit(limit)
        return [CachedStudy(d["hospital"], d["study_uid"], d["bytes"], d["used_at"]) async for d in found]

    async def evict(self, study: CachedStudy, idle: Idle) -> int:
        """See `CacheLedger.evict`."""

        async def write(session: AsyncClientSession) -> int:
            held = {"_id": study.id, "held": True}
            if await self._db["study_commands"].find_one(held, session=session) is not None:
                return 0
            hold = {"_id": study.hospital, "legal_hold": True}
            if await self._db["policies"].find_one(hold, session=session) is not None:
                return 0
            where = {"_id": study.id, **_needless(idle)}
            before = await self._db["cache_studies"].find_one_and_update(where, {"$set": {"bytes": 0}}, session=session)
            if before is None:
                return 0
            await self._mark(study.id, session)
            return int(before["bytes"])

        return await self._transactions.run(write)

    async def evict_purged(self, study_id: str) -> None:
        """See `CacheLedger.evict_purged`."""

        async def write(session: AsyncClientSession) -> None:
            await self._db["cache_studies"].update_one({"_id": study_id}, {"$set": {"bytes": 0}}, session=session)
            await self._mark(study_id, session)

        await self._transactions.run(write)

    async def _mark(self, study_id: str, session: AsyncClientSession) -> None:
        where = {"study": study_id, "evicted_at": None}
        batches = await self._db["cache_batches"].find(where, {"_id": 1}, session=session).to_list()
        keys = sorted(document["_id"] for document in batches)
        now = {"$set": {"evicted_at": datetime.now(UTC)}}
        await self._db["cache_batches"].update_many({"_id": {"$in": keys}}, now, session=session)
        await self._transactions.tell_evicted(study_id, "cache", keys, session)

    async def evicted(self, limit: int) -> dict[str, datetime]:
        """See `CacheLedger.evicted`."""
        found = self._db["cache_batches"].find({"evicted_at": {"$ne": None}}, {"evicted_at": 1}).limit(limit)
        return {document["_id"]: document["evicted_at"] async for document in found}

    async def forget(self, manifest_keys: Sequence[str]) -> None:
        """See `CacheLedger.forget`."""
        await self._db["cache_batches"].delete_many({"_id": {"$in": list(manifest_keys)}, "evicted_at": {"$ne": None}})

    async def forget_unused(self, before: datetime) -> None:
        """See `CacheLedger.forget_unused`."""
        unused = {"bytes": {"$not": {"$gt": 0}}, "pins.0": {"$exists": False}, "used_at": {"$lt": before}}
        await self._db["cache_studies"].delete_many(unused)

    async def take_turn(self, work: str) -> bool:
        """See `CacheLedger.take_turn`."""
        now = datetime.now(UTC)
        free = {"_id": work, "$or": [{"owner": self._me}, {"until": {"$lt": now}}]}
        mine = {"$set": {"owner": self._me, "until": now + self._lease}}
        try:
            turn = await self._db["turns"].find_one_and_update(
                free, mine, upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:  # another copy has it
            return False
        return turn is not None

    async def _update(self, study_id: str, change: Document, session: AsyncClientSession | None = None) -> None:
        hospital, study_uid = study_id.split("/")
        once: Document = {"hospital": hospital, "study_uid": study_uid}
        await self._db["cache_studies"].update_one(
            {"_id": study_id}, {**change, "$setOnInsert": once}, upsert=True, session=session
        )


def _needless(idle: Idle) -> dict[str, Any]:
    return {
        **CACHED,
        "pins.0": {"$exists": False},
        "opened_at": {"$not": {"$gt": idle.opened_before}},
        "arrived_at": {"$not": {"$gt": idle.arrived_before}},
    }


def _located(study_id: str) -> Document:
    """Instances of the study that the index reads from the archive."""
    return {"_id": {"$regex": f"^{re.escape(study_id)}/"}, "located_in": {"$ne": None}}
