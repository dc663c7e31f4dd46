"""`Deletions` on MongoDB: collection `study_commands`; a purge marks what `MongoLedger` keeps of packs and batches."""

import re
from datetime import UTC, datetime
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession

from imaging_common.events import StudyDeletionRequested, StudyHeld, StudyRestored
from imaging_common.messaging.outbox import Outbox
from object_writer.adapters.purge_writes import purge_study
from object_writer.adapters.transactions import Document, Transactions
from object_writer.ports.deletions import Purged

INDEXES = (("hospital", "held"), ("deleted", "purge_after"))
WAITING: Document = {"deleted": True, "finished": False, "held": {"$ne": True}}


class MongoDeletions:
    """A deletion and a hold are ordered apart: each follows the highest revision that speaks of it."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, outbox: Outbox) -> None:
        self._db = client[database]
        self._transactions = Transactions(client, outbox)

    async def prepare(self) -> None:
        """Make the indexes."""
        for fields in INDEXES:
            await self._db["study_commands"].create_index([(field, 1) for field in fields])
        await self._db["packs"].create_index([("purged_at", 1)])
        await self._db["batches"].create_index([("purged_at", 1)])

    async def order_deletion(self, event: StudyDeletionRequested) -> None:
        """See `Deletions.order_deletion`."""
        order = {
            "deleted": True,
            "purge_after": event.purge_after,
            "ordered_at": datetime.now(UTC),
            "reason": event.reason,
            "purged_at": None,
            "finished": False,
        }
        await self._order(event, "deletion_revision", order, close=True)

    async def order_restoration(self, event: StudyRestored) -> None:
        """See `Deletions.order_restoration`."""
        await self._order(event, "deletion_revision", {"deleted": False})

    async def order_hold(self, event: StudyHeld) -> None:
        """See `Deletions.order_hold`."""
        await self._order(event, "hold_revision", {"held": event.held})

    async def _order(
        self,
        event: StudyDeletionRequested | StudyRestored | StudyHeld,
        revision: str,
        order: Document,
        *,
        close: bool = False,
    ) -> None:
        study_id = f"{event.holder}/{event.study_uid}"

        async def write(session: AsyncClientSession) -> None:
            known = await self._db["study_commands"].find_one({"_id": study_id}, session=session)
            if known is not None and known.get(revision, 0) >= event.revision:
                return
            change = {"$set": {**order, revision: event.revision, "hospital": event.holder}}
            await self._db["study_commands"].update_one({"_id": study_id}, change, upsert=True, session=session)
            if close:
                packs = {"series": {"$regex": f"^{re.escape(study_id)}/"}, "gone": False}
                await self._db["packs"].update_many(packs, {"$set": {"closed": True}}, session=session)

        await self._transactions.run(write)

    async def due(self, limit: int) -> list[str]:
        """See `Deletions.due`."""
        held = await self._db["policies"].distinct("_id", {"legal_hold": True})
        where = {**WAITING, "purge_after": {"$lte": datetime.now(UTC)}, "hospital": {"$nin": held}}
        found = self._db["study_commands"].find(where, {"_id": 1}).sort("purge_after", 1).limit(limit)
        return [document["_id"] async for document in found]

    async def purge(self, study_id: str) -> bool:
        """See `Deletions.purge`."""

        async def write(session: AsyncClientSession) -> bool:
            return await purge_study(self._db, self._transactions, session, study_id)

        return await self._transactions.run(write)

    async def finish(self, study_id: str) -> None:
        """See `Deletions.finish`; a deletion that was ordered anew goes on."""
        done = {"_id": study_id, "purged_at": {"$ne": None}}
        await self._db["study_commands"].update_one(done, {"$set": {"finished": True}})

    async def purged(self, limit: int) -> list[Purged]:
        """See `Deletions.purged`."""
        marked: dict[str, Any] = {"purged_at": {"$ne": None}}
        batches = await self._db["batches"].find({**marked, "open": True}).limit(limit).to_list()
        packs = await self._db["packs"].find({**marked, "gone": False}).limit(limit).to_list()
        return [
            *(Purged("staging", batch["_id"], batch["purged_at"]) for batch in batches),
            *(Purged("archive", pack["_id"], pack["purged_at"]) for pack in packs),
        ]

    async def spare(self, purged: Purged) -> None:
        """See `Deletions.spare`: the sweep finds it and notes it anew."""
        where = {"_id": purged.manifest_key, "purged_at": purged.at}
        if purged.bucket == "staging":
            await self._db["batches"].delete_one(where)
        else:
            await self._db["packs"].delete_one(where)
