"""`RecordStore` on MongoDB: collections `records` (unique `audit_id`, unique stream and seq) and `heads`."""

from collections.abc import AsyncIterator
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession

from audit.model import GENESIS, link_hash

Document = dict[str, Any]


class MongoRecordStore:
    """A record and its stream's new head are one transaction."""

    def __init__(self, client: AsyncMongoClient[Document], database: str) -> None:
        self._client = client
        self._db = client[database]

    async def prepare(self) -> None:
        """Make the indexes."""
        await self._db["records"].create_index([("stream", 1), ("seq", 1)], unique=True)
        for field in ("record.user", "record.study_uid", "record.action", "record.at"):
            await self._db["records"].create_index([(field, 1)])

    async def check(self) -> None:
        """Raise when MongoDB does not answer."""
        await self._client.admin.command("ping")

    async def append(self, stream: str, record: Document) -> bool:
        """See `RecordStore.append`."""

        async def write(session: AsyncClientSession) -> bool:
            if await self._db["records"].find_one({"_id": record["audit_id"]}, session=session):
                return False
            head = await self._db["heads"].find_one({"_id": stream}, session=session) or {"seq": 0, "hash": GENESIS}
            seq, prev_hash = head["seq"] + 1, head["hash"]
            digest = link_hash(stream, seq, prev_hash, record)
            await self._db["records"].insert_one(
                {
                    "_id": record["audit_id"],
                    "stream": stream,
                    "seq": seq,
                    "prev_hash": prev_hash,
                    "hash": digest,
                    "record": record,
                },
                session=session,
            )
            await self._db["heads"].update_one(
                {"_id": stream}, {"$set": {"seq": seq, "hash": digest}}, upsert=True, session=session
            )
            return True

        async with self._client.start_session() as session:
            return bool(await session.with_transaction(write))

    async def search(self, criteria: Document, limit: int, offset: int) -> list[Document]:
        """See `RecordStore.search`."""
        cursor = self._db["records"].find(criteria, {"_id": 0}).sort([("record.at", -1), ("seq", -1)])
        return await cursor.skip(offset).limit(limit).to_list()

    async def streams(self) -> dict[str, tuple[int, str]]:
        """See `RecordStore.streams`."""
        return {head["_id"]: (head["seq"], head["hash"]) async for head in self._db["heads"].find()}

    async def chain(self, stream: str) -> AsyncIterator[Document]:
        """See `RecordStore.chain`."""
        async for document in self._db["records"].find({"stream": stream}).sort("seq", 1):
            yield document
