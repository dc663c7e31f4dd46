"""`Ledger` on MongoDB: collections `instances`, `series`, `batches`, `packs`, `policies`, and the outbox `events`."""

import re
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import uuid4

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from imaging_common.events import HospitalRegistered, InstancesLocated
from imaging_common.messaging.outbox import Outbox
from imaging_common.objects.model import Manifest
from object_writer.adapters.ledger_writes import Document, LedgerWrites
from object_writer.errors import LeaseLost
from object_writer.model import Name
from object_writer.ports import DueSeries, PackRecord, Pending, Policy

T = TypeVar("T")
LONGEST_PAUSE = 600.0
PAGE = 200
INDEXES = {
    "instances": (("series", "pack"), ("pack",), ("located_in",)),
    "series": (("waiting", "last_received_at"),),
    "batches": (("open", "left", "settled_at"),),
    "packs": (("series", "replaced_by"), ("replaced_by", "gone"), ("located", "noted_at")),
}


class MongoLedger:
    """Every change and its events are one transaction; leases and times follow this process's clock."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, outbox: Outbox, lease_seconds: float) -> None:
        self._client = client
        self._db = client[database]
        self._outbox = outbox
        self._lease = timedelta(seconds=lease_seconds)
        self._me = uuid4().hex

    async def prepare(self) -> None:
        """Make the indexes."""
        for collection, indexes in INDEXES.items():
            for fields in indexes:
                await self._db[collection].create_index([(field, 1) for field in fields])

    async def check(self) -> None:
        """Raise when MongoDB does not answer."""
        await self._client.admin.command("ping")

    async def note_batch(self, manifest: Manifest, manifest_key: str) -> None:
        """See `Ledger.note_batch`."""
        await self._transaction(lambda writes: writes.note_batch(manifest, manifest_key))

    async def known_batches(self, manifest_keys: Collection[str]) -> set[str]:
        """See `Ledger.known_batches`."""
        found = self._db["batches"].find({"_id": {"$in": list(manifest_keys)}, "open": True}, {"_id": 1})
        return {document["_id"] async for document in found}

    async def take_series(self, quiet_before: datetime, bytes_limit: int) -> DueSeries | None:
        """See `Ledger.take_series`."""
        now = datetime.now(UTC)
        taken = await self._db["series"].find_one_and_update(
            {
                "waiting": {"$gt": 0},
                "$and": [
                    {"$or": [{"last_received_at": {"$lte": quiet_before}}, {"waiting": {"$gte": bytes_limit}}]},
                    {"$or": [{"lease_until": None}, {"lease_until": {"$lt": now}}]},
                    {"$or": [{"retry_at": None}, {"retry_at": {"$lte": now}}]},
                ],
            },
            {"$set": {"lease_until": now + self._lease, "lease_owner": self._me}},
            sort=[("last_received_at", 1)],
        )
        return DueSeries(str(taken["_id"]), taken.get("traceparent")) if taken else None

    async def renew(self, series_id: str) -> None:
        """See `Ledger.renew`."""
        result = await self._db["series"].update_one(
            {"_id": series_id, "lease_owner": self._me}, {"$set": {"lease_until": datetime.now(UTC) + self._lease}}
        )
        if not result.matched_count:
            raise LeaseLost("another copy works on the series")

    async def release_series(self, series_id: str, *, failed: bool) -> None:
        """See `Ledger.release_series`."""
        mine = {"_id": series_id, "lease_owner": self._me}
        free: Document = {"lease_until": None, "lease_owner": None}
        if not failed:
            await self._db["series"].update_one(mine, {"$set": {**free, "failures": 0, "retry_at": None}})
            return
        series = await self._db["series"].find_one(mine, {"failures": 1})
        if series is not None:
            failures = series.get("failures", 0) + 1
            pause = timedelta(seconds=min(LONGEST_PAUSE, 2.0 ** min(failures, 30)))
            again = {"failures": failures, "retry_at": datetime.now(UTC) + pause}
            await self._db["series"].update_one(mine, {"$set": {**free, **again}})

    async def pending(self, series_id: str) -> Pending:
        """See `Ledger.pending`."""
        where = {"series": series_id, "pack": None, "lost": {"$ne": True}}
        found = self._db["instances"].find(where, {"sop_instance_uid": 1, "sha256": 1, "batches": 1})
        names, batches = set[Name](), dict[str, None]()
        async for document in found:
            names.add(_name(document))
            batches.update(dict.fromkeys(document["batches"]))
        return Pending(names, sorted(batches))

    async def packs_of(self, series_id: str) -> list[PackRecord]:
        """See `Ledger.packs_of`."""
        where = {"series": series_id, "replaced_by": None, "purged_at": None, "gone": {"$ne": True}}
        found = await self._db["packs"].find(where).to_list()
        records = []
        for pack in found:
            members = self._db["instances"].find({"pack": pack["_id"]}, {"sop_instance_uid": 1, "sha256": 1})
            names = {_name(document) async for document in members}
            records.append(PackRecord(pack["_id"], pack["bytes"], names, closed=pack.get("closed", False)))
        return records

    async def known_packs(self, manifest_keys: Collection[str]) -> set[str]:
        """See `Ledger.known_packs`."""
        found = self._db["packs"].find({"_id": {"$in": list(manifest_keys)}}, {"_id": 1})
        return {document["_id"] async for document in found}

    async def note_pack(self, manifest: Manifest, manifest_key: str) -> None:
        """See `Ledger.note_pack`."""
        await self._transaction(lambda writes: writes.note_pack(manifest, manifest_key, owner=self._me))

    async def adopt_pack(self, manifest: Manifest, manifest_key: str) -> None:
        """See `Ledger.adopt_pack`."""
        await self._transaction(lambda writes: writes.note_pack(manifest, manifest_key, owner=None))

    async def note_damaged(self, series_id: str, name: Name, manifest_key: str) -> bool:
        """See `Ledger.note_damaged`."""
        return await self._transaction(lambda writes: writes.note_damaged(series_id, name, manifest_key))

    async def packs_of_study(self, study_id: str) -> list[str]:
        """See `Ledger.packs_of_study`."""
        where = {"series": {"$regex": f"^{re.escape(study_id)}/"}, "gone": False, "purged_at": None}
        return [document["_id"] async for document in self._db["packs"].find(where, {"_id": 1})]

    async def batches_of_study(self, study_id: str) -> list[str]:
        """See `Ledger.batches_of_study`."""
        where = {"_id": {"$gt": f"{study_id}/", "$lt": f"{study_id}0"}, "open": True, "purged_at": None}
        return [document["_id"] async for document in self._db["batches"].find(where, {"_id": 1})]

    async def note_pack_lost(self, manifest_key: str) -> None:
        """See `Ledger.note_pack_lost`."""
        await self._transaction(lambda writes: writes.note_pack_lost(manifest_key))

    async def note_located(self, event: InstancesLocated) -> None:
        """See `Ledger.note_located`."""
        await self._transaction(lambda writes: writes.note_located(event))

    async def remind(self, noted_before: datetime) -> int:
        """See `Ledger.remind`."""
        where = {"located": False, "gone": {"$ne": True}, "replaced_by": None, "noted_at": {"$lt": noted_before}}
        where["purged_at"] = None
        forgotten = await self._db["packs"].find(where).sort("noted_at", 1).limit(PAGE).to_list()
        for pack in forgotten:
            await self._transaction(partial(LedgerWrites.announce_again, pack=pack))
        return len(forgotten)

    async def removable_batches(self, located_before: datetime) -> list[str]:
        """See `Ledger.removable_batches`."""
        where = {"open": True, "left": {"$lte": 0}, "settled_at": {"$lte": located_before}, "purged_at": None}
        return [document["_id"] async for document in self._db["batches"].find(where, {"_id": 1}).limit(PAGE)]

    async def removable_packs(self, located_before: datetime) -> list[str]:
        """See `Ledger.removable_packs`."""
        where = {"replaced_by": {"$ne": None}, "gone": False, "replaced_at": {"$lte": located_before}}
        where["purged_at"] = None
        removable = []
        async for pack in self._db["packs"].find(where):
            if not await self._is_read(pack, located_before):
                removable.append(pack["_id"])
            if len(removable) >= PAGE:
                break
        return removable

    async def _is_read(self, pack: Document, located_before: datetime) -> bool:
        """Whether the index may still point to the pack, or did so a short while ago."""
        astray = {"pack": {"$ne": None}, "$expr": {"$ne": ["$located_in", "$pack"]}}
        recent = {"located_at": {"$gt": located_before}}
        where = {"$or": [{"located_in": pack["_id"]}, {"series": pack["series"], "$or": [astray, recent]}]}
        return await self._db["instances"].find_one(where, {"_id": 1}) is not None

    async def forget(self, manifest_key: str) -> None:
        """See `Ledger.forget`."""
        await self._db["batches"].update_one({"_id": manifest_key}, {"$set": {"open": False}})
        await self._db["packs"].update_one({"_id": manifest_key}, {"$set": {"gone": True}})

    async def keep_policy(self, event: HospitalRegistered) -> None:
        """See `Ledger.keep_policy`."""
        not_newer = {"_id": event.hospital, "revision": {"$lte": event.revision}}
        kept = event.model_dump(include={"revision", *Policy.__dataclass_fields__})
        try:
            await self._db["policies"].update_one(not_newer, {"$set": kept}, upsert=True)
        except DuplicateKeyError:  # a later revision is known
            return

    async def policies(self) -> dict[str, Policy]:
        """See `Ledger.policies`."""
        fields = Policy.__dataclass_fields__
        found = self._db["policies"].find()
        return {d["_id"]: Policy(**{f: d[f] for f in fields if f in d}) async for d in found}

    async def _transaction(self, write: Callable[[LedgerWrites], Awaitable[T]]) -> T:
        async def run(session: AsyncClientSession) -> T:
            return await write(LedgerWrites(self._db, self._outbox, session))

        async with self._client.start_session() as session:
            result: T = await session.with_transaction(run)
        self._outbox.notify()
        return result


def _name(document: Document) -> Name:
    return (document["sop_instance_uid"], document["sha256"])
