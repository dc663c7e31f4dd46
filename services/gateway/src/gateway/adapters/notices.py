"""`NoticeStore` on MongoDB: one document a notice, with the users who saw it; that is told through the outbox."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import DESCENDING, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from gateway.adapters.stores import KEEP_SECONDS
from gateway.model import KeptNotice
from imaging_common.events import NoticeRaised, NoticeSeen
from imaging_common.messaging.outbox import Outbox
from imaging_common.mongo import ensure_index

TOPIC = "notice-seen"
SEEN_AT_ONCE = 500
"""In one transaction; somebody who has more unread reads them in several."""
OVERLAP = timedelta(seconds=5)
"""So much a notice may become visible after one that was kept later: what is replayed begins that much earlier."""
DEADLINE_MS = 5_000


class MongoNotices:
    """`NoticeStore` on MongoDB."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], outbox: Outbox) -> None:
        self._client = database.client
        self._notices = database["notices"]
        self._outbox = outbox

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._notices.create_index([("recipient", 1), ("raised_at", -1)])
        await self._notices.create_index([("recipient", 1), ("kept_at", 1)])
        await ensure_index(self._notices, "raised_at", expireAfterSeconds=KEEP_SECONDS)

    async def add(self, notice: NoticeRaised) -> datetime:
        """See `NoticeStore.add`; the time is the database's, so that it is the same for all copies of the gateway."""
        fields = notice.model_dump(exclude={"notice_id"})
        set_once = {name: {"$ifNull": [f"${name}", {"$literal": value}]} for name, value in fields.items()}
        change = {**set_once, "seen_by": {"$ifNull": ["$seen_by", []]}, "kept_at": {"$ifNull": ["$kept_at", "$$NOW"]}}
        for _ in range(2):
            try:
                kept = await self._notices.find_one_and_update(
                    {"_id": notice.notice_id},
                    [{"$set": change}],
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:
                continue  # The other copy of the gateway was faster; the notice is there.
            assert kept is not None
            at: datetime = kept["kept_at"]
            return at
        return notice.raised_at

    async def unseen(self, recipients: Sequence[str], user: str) -> int:
        """See `NoticeStore.unseen`."""
        where = {"recipient": {"$in": list(recipients)}, "seen_by": {"$ne": user}}
        return await self._notices.count_documents(where, limit=100, maxTimeMS=DEADLINE_MS)

    async def latest(self, recipients: Sequence[str], user: str, limit: int) -> list[dict[str, Any]]:
        """See `NoticeStore.latest`."""
        cursor = self._notices.find({"recipient": {"$in": list(recipients)}}, max_time_ms=DEADLINE_MS)
        found = await cursor.sort("raised_at", DESCENDING).limit(limit).to_list()
        return [{**one, "notice_id": one["_id"], "seen": user in one["seen_by"]} for one in found]

    async def since(self, recipients: Sequence[str], at: datetime, limit: int) -> list[KeptNotice]:
        """See `NoticeStore.since`."""
        where = {"recipient": {"$in": list(recipients)}, "kept_at": {"$gte": at - OVERLAP}}
        cursor = self._notices.find(where, max_time_ms=DEADLINE_MS).sort("kept_at", 1).limit(limit)
        return [_kept(one) async for one in cursor]

    async def mark_seen(
        self, recipients: Sequence[str], user: str, *, link: str | None = None, notice_id: str | None = None
    ) -> int:
        """See `NoticeStore.mark_seen`; each is told once, in the transaction that notes it."""
        where: dict[str, Any] = {"recipient": {"$in": list(recipients)}, "seen_by": {"$ne": user}}
        if link is not None:
            where["link"] = link
        if notice_id is not None:
            where["_id"] = notice_id

        async def note(session: AsyncClientSession) -> int:
            found = await self._notices.find(where, {"_id": 1}, session=session).limit(SEEN_AT_ONCE).to_list()
            ids = [one["_id"] for one in found]
            if ids:
                change = {"$addToSet": {"seen_by": user}}
                await self._notices.update_many({"_id": {"$in": ids}}, change, session=session)
            for one in ids:
                event = NoticeSeen(notice_id=one, user=user, seen_at=datetime.now(UTC))
                await self._outbox.add(TOPIC, event, one, session=session)
            return len(ids)

        if await self._notices.find_one(where, {"_id": 1}, max_time_ms=DEADLINE_MS) is None:
            return 0
        async with self._client.start_session() as session:
            count = await session.with_transaction(note)
        self._outbox.notify()
        return count


def _kept(document: dict[str, Any]) -> KeptNotice:
    fields = {name: document[name] for name in NoticeRaised.model_fields if name in document}
    return KeptNotice(NoticeRaised.model_validate({"notice_id": document["_id"], **fields}), document["kept_at"])
