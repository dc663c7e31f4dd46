"""`RecordStore` on MongoDB: collections `records` (`_id` is the audit id; stream and seq are unique) and `heads`."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from audit.model import Head, Link, Position, RecordQuery, make_link
from audit.summary import COUNTED, LOOKS, MAX_PEOPLE, NOT_COUNTED, Looker, in_order
from imaging_common.errors import RetryableError
from imaging_common.mongo import ensure_index

Document = dict[str, Any]
ATTEMPTS = 20
ORDER = [("at", -1), ("stream", -1), ("seq", -1)]
SEARCHED = ("user", "study_uid", "consult_id", "action", "outcome", "hospital", "resident_id", "grant_id")


SUMMARY_MS = 20_000
_LET_IN = {"$eq": ["$record.outcome", "success"]}
_LOOKED = {"$and": [_LET_IN, {"$in": ["$record.action", list(LOOKS)]}]}
_SEARCHED = {"$and": [_LET_IN, {"$not": [{"$in": ["$record.action", list(LOOKS)]}]}]}
_PERSON = {
    "_id": {"hospital": "$record.hospital", "user": "$record.user"},
    "looks": {"$sum": {"$cond": [_LOOKED, 1, 0]}},
    "searches": {"$sum": {"$cond": [_SEARCHED, 1, 0]}},
    "denied": {"$sum": {"$cond": [{"$eq": ["$record.outcome", "denied"]}, 1, 0]}},
    "first": {"$min": "$at"},
    "last": {"$max": "$at"},
    "rights": {"$addToSet": {"$cond": [_LOOKED, "$record.reason", "$$REMOVE"]}},
}
"""One row of `summary.summarize` in MongoDB's words."""


class _Stale(Exception):
    """The chain goes on from another link than this copy knows."""


class _AlreadyThere(Exception):
    """The record is in the chain."""


class MongoRecordStore:
    """A record and its stream's new head are one transaction, compare-and-set on the head: several copies may run."""

    def __init__(self, client: AsyncMongoClient[Document], database: str) -> None:
        self._client = client
        self._records = client[database]["records"]
        self._heads = client[database]["heads"]
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._known: dict[str, Head] = {}
        """The heads as this copy knows them; the transaction finds out when another copy was faster."""

    async def prepare(self) -> None:
        """Make the indexes."""
        await ensure_index(self._records, [("stream", 1), ("seq", 1)], unique=True)
        await self._records.create_index(ORDER)
        for field in SEARCHED:
            await self._records.create_index([(f"record.{field}", 1), *ORDER])

    async def check(self) -> None:
        """Raise when MongoDB does not answer."""
        await self._client.admin.command("ping")

    async def append(self, stream: str, record: Document) -> bool:
        """See `RecordStore.append`."""
        async with self._locks[stream]:
            for _ in range(ATTEMPTS):
                if stream not in self._known:
                    self._known[stream] = await self._noted(stream)
                try:
                    self._known[stream] = await self._follow(stream, self._known[stream], record)
                except _Stale:
                    del self._known[stream]
                except _AlreadyThere:
                    return False
                else:
                    return True
        raise RetryableError(f"the chain of {stream} grows too fast to append to it, or its head is not the noted one")

    async def _noted(self, stream: str) -> Head:
        noted = await self._heads.find_one({"_id": stream})
        return Head(noted["seq"], noted["hash"]) if noted else Head()

    async def _follow(self, stream: str, head: Head, record: Document) -> Head:
        """Append after `head` if that is the last link still; the new head."""
        link = make_link(stream, head, record)

        async def write(session: AsyncClientSession) -> None:
            try:
                await self._records.insert_one(_document(link), session=session)
            except DuplicateKeyError as error:
                same_id = (error.details or {}).get("keyPattern") == {"_id": 1}
                raise (_AlreadyThere if same_id else _Stale) from error
            try:
                done = await self._heads.update_one(
                    {"_id": stream, "seq": head.seq, "hash": head.hash},
                    {"$set": {"seq": link["seq"], "hash": link["hash"]}},
                    upsert=head == Head(),
                    session=session,
                )
            except DuplicateKeyError as error:
                raise _Stale from error
            if not done.matched_count and done.upserted_id is None:
                raise _Stale

        async with self._client.start_session() as session:
            await session.with_transaction(write)
        return Head(link["seq"], link["hash"])

    async def search(self, query: RecordQuery, limit: int, offset: int) -> list[Link]:
        """See `RecordStore.search`."""
        cursor = self._records.find(_criteria(query)).sort(ORDER).skip(offset).limit(limit)
        return [_link(document) async for document in cursor]

    async def summary(self, query: RecordQuery) -> tuple[list[Looker], bool]:
        """See `RecordStore.summary`."""
        pipeline: list[Document] = [
            {"$match": _criteria(query)},
            {"$match": {"record.action": {"$in": list(COUNTED)}, "record.service": {"$nin": list(NOT_COUNTED)}}},
            {"$group": _PERSON},
            {"$sort": {"last": -1, "_id": -1}},
            {"$limit": MAX_PEOPLE + 1},
        ]
        cursor = await self._records.aggregate(pipeline, maxTimeMS=SUMMARY_MS, allowDiskUse=True)
        found = [_looker(document) async for document in cursor]
        return in_order(found[:MAX_PEOPLE]), len(found) > MAX_PEOPLE

    async def heads(self) -> dict[str, Head]:
        """See `RecordStore.heads`."""
        noted = {head["_id"]: Head(head["seq"], head["hash"]) async for head in self._heads.find()}
        return {stream: Head() for stream in await self._records.distinct("stream")} | noted

    async def chain(self, stream: str) -> AsyncIterator[Link]:
        """See `RecordStore.chain`."""
        async for document in self._records.find({"stream": stream}).sort("seq", 1):
            yield _link(document)


def _criteria(query: RecordQuery) -> Document:
    criteria: Document = {f"record.{name}": value for name, value in query.equal.items()}
    bounds = {op: at for op, at in (("$gte", query.since), ("$lt", query.until)) if at is not None}
    if bounds:
        criteria["at"] = bounds
    about = [
        {f"record.{name}": {"$in": list(values)}}
        for name, values in (("resident_id", query.residents), ("study_uid", query.studies))
        if values
    ]
    also = [{"$or": about}] if about else []
    if query.after is not None:
        also.append(_after(query.after))
    if also:
        criteria["$and"] = also
    return criteria


def _looker(document: Document) -> Looker:
    who = document["_id"]
    rights = tuple(sorted(document["rights"]))
    counts = {name: document[name] for name in ("looks", "searches", "denied", "first", "last")}
    return Looker(hospital=who["hospital"], user=who["user"], rights=rights, **counts)


def _after(place: Position) -> Document:
    return {
        "$or": [
            {"at": {"$lt": place.at}},
            {"at": place.at, "stream": {"$lt": place.stream}},
            {"at": place.at, "stream": place.stream, "seq": {"$lt": place.seq}},
        ]
    }


def _document(link: Link) -> Document:
    return {"_id": link["audit_id"], **{name: value for name, value in link.items() if name != "audit_id"}}


def _link(document: Document) -> Link:
    return {"audit_id": document["_id"], **{name: value for name, value in document.items() if name != "_id"}}
