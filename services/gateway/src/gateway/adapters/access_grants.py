"""`AccessGrants` on MongoDB (`gateway.access_grants`, `.launch_codes`, `.kept_requests`), announced by the outbox."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo import DESCENDING, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from gateway.grants.model import AccessGrant, Kind, LaunchCode
from gateway.grants.ports import TOPIC, Taken
from imaging_common.messaging.outbox import Outbox
from imaging_common.mongo import ensure_index

KEEP_SECONDS = 90 * 24 * 3600
"""So long a grant is listed after its end."""
REPLAY_HOURS = 1
"""So long a spent code is known, so that a replay is told from a wrong code."""
FIND_MS = 5_000
Document = dict[str, Any]


class MongoAccessGrants:
    """One document a grant, one a code; whatever decides a race is one operation on one document."""

    def __init__(self, database: AsyncDatabase[Document], outbox: Outbox) -> None:
        self._client = database.client
        self._grants = database["access_grants"]
        self._codes = database["launch_codes"]
        self._requests = database["kept_requests"]
        self._outbox = outbox

    async def prepare(self) -> None:
        """Create the indexes; those on times remove what has ended."""
        await self._grants.create_index([("user", 1), ("until", 1)])
        await self._grants.create_index([("granted_by", 1), ("kind", 1), ("at", -1)])
        await ensure_index(
            self._grants, "token", unique=True, partialFilterExpression={"token": {"$gt": ""}}, name="token"
        )
        await ensure_index(self._grants, "until", expireAfterSeconds=KEEP_SECONDS)
        await ensure_index(self._codes, "remove_at", expireAfterSeconds=0)
        await ensure_index(self._requests, "until", expireAfterSeconds=0)

    async def open(self, grant: AccessGrant) -> bool:
        """See `AccessGrants.open`."""

        async def write(session: AsyncClientSession) -> None:
            document = {"_id": grant.grant_id, **grant.model_dump(exclude={"grant_id"})}
            await self._grants.insert_one(document, session=session)
            await self._outbox.add(TOPIC, grant.granted(), grant.grant_id, session=session)

        try:
            async with self._client.start_session() as session:
                await session.with_transaction(write)
        except DuplicateKeyError:
            return False
        self._outbox.notify()
        return True

    async def find(self, grant_id: str) -> AccessGrant | None:
        """See `AccessGrants.find`."""
        return _grant(await self._grants.find_one({"_id": grant_id}, max_time_ms=FIND_MS))

    async def held(self, user: str, grant_ids: Sequence[str], now: datetime) -> list[AccessGrant]:
        """See `AccessGrants.held`."""
        ways: list[Document] = [{"_id": {"$in": list(grant_ids)}}] if grant_ids else []
        if user:
            ways.append({"user": user})
        if not ways:
            return []
        where = {"$or": ways, "until": {"$gt": now}, "ended_at": None}
        found = await self._grants.find(where, max_time_ms=FIND_MS).to_list()
        return [grant for document in found if (grant := _grant(document))]

    async def made(self, kind: Kind, by: str, limit: int) -> list[AccessGrant]:
        """See `AccessGrants.made`."""
        cursor = self._grants.find({"granted_by": by, "kind": kind}, max_time_ms=FIND_MS)
        found = await cursor.sort("at", DESCENDING).limit(limit).to_list()
        return [grant for document in found if (grant := _grant(document))]

    async def end(self, grant_id: str, kind: Kind, made_by: str, now: datetime) -> AccessGrant | None:
        """See `AccessGrants.end`."""
        where = {"_id": grant_id, "kind": kind, "granted_by": made_by, "until": {"$gt": now}, "ended_at": None}

        async def write(session: AsyncClientSession) -> AccessGrant | None:
            ended = _grant(
                await self._grants.find_one_and_update(
                    where, {"$set": {"ended_at": now}}, return_document=ReturnDocument.AFTER, session=session
                )
            )
            if ended is not None:
                await self._outbox.add(TOPIC, ended.ended(made_by, now), grant_id, session=session)
            return ended

        async with self._client.start_session() as session:
            ended = await session.with_transaction(write)
        self._outbox.notify()
        return ended

    async def count_open(self, token: str, now: datetime) -> AccessGrant | None:
        """See `AccessGrants.count_open`."""
        where = {
            "token": token,
            "until": {"$gt": now},
            "ended_at": None,
            "$or": [{"max_opens": None}, {"$expr": {"$lt": ["$opens", "$max_opens"]}}],
        }
        change = {"$inc": {"opens": 1}, "$set": {"last_opened": now}}
        return _grant(await self._grants.find_one_and_update(where, change, return_document=ReturnDocument.AFTER))

    async def of_token(self, token: str) -> AccessGrant | None:
        """See `AccessGrants.of_token`."""
        return _grant(await self._grants.find_one({"token": token}, max_time_ms=FIND_MS)) if token else None

    async def keep_code(self, code: LaunchCode) -> None:
        """See `AccessGrants.keep_code`."""
        document = code.model_dump(exclude={"key"})
        remove_at = code.expires_at + timedelta(hours=REPLAY_HOURS)
        await self._codes.insert_one({"_id": code.key, **document, "used": False, "remove_at": remove_at})

    async def take_code(self, key: str, now: datetime) -> tuple[Taken, LaunchCode | None]:
        """See `AccessGrants.take_code`."""
        free = {"_id": key, "used": False, "expires_at": {"$gt": now}}
        taken = await self._codes.find_one_and_update(free, {"$set": {"used": True}})
        if taken is not None:
            return "taken", _code(taken)
        known = await self._codes.find_one({"_id": key}, max_time_ms=FIND_MS)
        return ("used" if known is not None and known["used"] else "gone"), _code(known) if known else None

    async def keep_request(self, browser: str, request: Mapping[str, str], until: datetime) -> None:
        """See `AccessGrants.keep_request`."""
        await self._requests.replace_one({"_id": browser}, {"request": dict(request), "until": until}, upsert=True)

    async def take_request(self, browser: str, now: datetime) -> Mapping[str, str] | None:
        """See `AccessGrants.take_request`."""
        found = await self._requests.find_one_and_delete({"_id": browser, "until": {"$gt": now}})
        return dict(found["request"]) if found is not None else None


def _grant(document: Document | None) -> AccessGrant | None:
    if document is None:
        return None
    return AccessGrant(grant_id=document["_id"], **{name: document[name] for name in document if name != "_id"})


def _code(document: Document) -> LaunchCode:
    fields = {name: document[name] for name in ("grant", "minutes", "again", "expires_at")}
    return LaunchCode(key=document["_id"], **fields)
