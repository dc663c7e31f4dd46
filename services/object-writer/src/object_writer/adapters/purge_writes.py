"""A study's purge within one transaction: what it had when its deletion was ordered is marked, and told."""

import re
from datetime import UTC, datetime
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from object_writer.adapters.transactions import Document, Transactions


async def purge_study(db: Any, transactions: Transactions, session: AsyncClientSession, study_id: str) -> bool:
    """See `Deletions.purge`. The order, the policy and the series are written, so that who changes them meets this."""
    now = datetime.now(UTC)
    order = await db["study_commands"].find_one({"_id": study_id}, session=session)
    if not order or not order.get("deleted") or order.get("held") or order["purge_after"] > now:
        return False
    if order["purged_at"] is not None:
        return True
    asked = {"$set": {"asked_at": now}}
    policy = await db["policies"].find_one_and_update({"_id": order["hospital"]}, asked, session=session)
    if policy is not None and policy.get("legal_hold"):
        return False
    below = {"$regex": f"^{re.escape(study_id)}/"}
    if await db["series"].find_one({"_id": below, "lease_until": {"$gt": now}}, session=session) is not None:
        return False
    packs = await _doomed_packs(db, session, below, order["ordered_at"])
    earlier = {"$not": {"$gt": order["ordered_at"]}}
    batches = await _ids(db["batches"], {"_id": below, "open": True, "noted_at": earlier}, session)
    mark = {"$set": {"purged_at": now}}
    await db["packs"].update_many({"_id": {"$in": packs}}, mark, session=session)
    await db["batches"].update_many({"_id": {"$in": batches}}, mark, session=session)
    gone = {"_id": below, "received_at": earlier, "pack": {"$in": [*packs, None]}}
    await db["instances"].delete_many(gone, session=session)
    await db["instances"].update_many({"_id": below}, {"$pull": {"batches": {"$in": batches}}}, session=session)
    await _recount(db, session, below)
    await transactions.tell_evicted(study_id, "archive", packs, session)
    await transactions.tell_evicted(study_id, "staging", batches, session)
    await transactions.tell_purged(study_id, len(packs) + len(batches), order["ordered_at"], session)
    await db["study_commands"].update_one({"_id": study_id}, mark, session=session)
    return True


async def _doomed_packs(db: Any, session: AsyncClientSession, below: Document, ordered_at: datetime) -> list[str]:
    """Packs that hold nothing of what came after the order; a replaced one goes with the one that replaced it."""
    fresh = {"_id": below, "received_at": {"$gt": ordered_at}}
    kept = set(await db["instances"].distinct("pack", fresh, session=session))
    found = await db["packs"].find({"series": below, "gone": False}, session=session).to_list()
    successor = {pack["_id"]: pack["replaced_by"] for pack in found}

    def last(key: str) -> str:
        seen = {key}
        while (newer := successor.get(key)) is not None and newer not in seen:
            seen.add(newer)
            key = newer
        return key

    return sorted(key for key in successor if last(key) not in kept)


async def _recount(db: Any, session: AsyncClientSession, below: Document) -> None:
    """What waits in each series now; whoever still works on one has lost its lease."""
    waiting = {"series": below, "pack": None, "lost": {"$ne": True}}
    cursor = await db["instances"].aggregate(
        [{"$match": waiting}, {"$group": {"_id": "$series", "bytes": {"$sum": "$bytes"}}}], session=session
    )
    sizes = {document["_id"]: document["bytes"] for document in await cursor.to_list()}
    for series in await _ids(db["series"], {"_id": below}, session):
        change = {"$set": {"waiting": sizes.get(series, 0), "lease_owner": None, "lease_until": None}}
        await db["series"].update_one({"_id": series}, change, session=session)


async def _ids(collection: Any, where: Document, session: AsyncClientSession) -> list[str]:
    found = await collection.find(where, {"_id": 1}, session=session).to_list()
    return sorted(document["_id"] for document in found)
