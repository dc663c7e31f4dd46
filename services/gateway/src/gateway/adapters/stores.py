"""Grants, notices and the hospital registry in MongoDB (`gateway.grants`, `.notices`, `.hospitals`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import DESCENDING
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from gateway.errors import RegistryConflict
from gateway.model import CaseGrant, HospitalEntry
from imaging_common.access import EDGE_ROLE
from imaging_common.auth import Claims
from imaging_common.events import NoticeRaised
from imaging_common.messaging.outbox import Outbox

KEEP_SECONDS = 90 * 24 * 3600
"""How long an ended case and a notice stay: longer than the topics, so that no late event revives one."""


class MongoGrants:
    """`GrantStore` on MongoDB: one document a consult; its version guards the order."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._grants = database["grants"]

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._grants.create_index([("consultant_hospital", 1), ("open", 1)])
        await self._grants.create_index([("applicant", 1), ("open", 1)])
        await self._grants.create_index([("applicant_hospital", 1), ("workstation", 1), ("open", 1)])
        await self._grants.create_index("ended_at", expireAfterSeconds=KEEP_SECONDS)

    async def put(self, grant: CaseGrant) -> bool:
        """See `GrantStore.put`."""
        epoch, n = grant.version.epoch, grant.version.n
        older = [{"version.epoch": {"$lt": epoch}}, {"version.epoch": epoch, "version.n": {"$lt": n}}]
        document = grant.model_dump(exclude={"consult_id"})
        try:
            await self._grants.update_one({"_id": grant.consult_id, "$or": older}, {"$set": document}, upsert=True)
        except DuplicateKeyError:
            return False
        return True

    async def of_applicant(self, user: str, hospital: str) -> list[CaseGrant]:
        """See `GrantStore.of_applicant`."""
        return await self._find({"applicant": user, "applicant_hospital": hospital})

    async def of_person(self, claims: Claims) -> list[CaseGrant]:
        """See `GrantStore.of_person`."""
        if EDGE_ROLE in claims.roles:
            hospital = claims.hospital
            if not hospital:
                return []
            parties = [{"applicant_hospital": hospital}, {"consultant_hospital": hospital}]
            return await self._find({"$or": parties, "workstation": True})
        ways: list[dict[str, Any]] = [{"applicant": claims.user, "applicant_hospital": claims.hospital}]
        if "expert" in claims.roles and claims.hospital:
            ways.append({"consultant_hospital": claims.hospital})
        return await self._find({"$or": ways})

    async def _find(self, where: dict[str, Any]) -> list[CaseGrant]:
        cursor = self._grants.find({**where, "open": True}, max_time_ms=5_000)
        return [CaseGrant(consult_id=document.pop("_id"), **document) async for document in cursor]


class MongoNotices:
    """`NoticeStore` on MongoDB: one document a notice, with the users who saw it."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._notices = database["notices"]

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._notices.create_index([("recipient", 1), ("raised_at", -1)])
        await self._notices.create_index("raised_at", expireAfterSeconds=KEEP_SECONDS)

    async def add(self, notice: NoticeRaised) -> None:
        """See `NoticeStore.add`."""
        document = {**notice.model_dump(exclude={"notice_id"}), "seen_by": []}
        try:
            await self._notices.update_one({"_id": notice.notice_id}, {"$setOnInsert": document}, upsert=True)
        except DuplicateKeyError:
            return  # The other copy of the gateway was faster; the notice is there.

    async def unseen(self, recipients: Sequence[str], user: str) -> int:
        """See `NoticeStore.unseen`."""
        where = {"recipient": {"$in": list(recipients)}, "seen_by": {"$ne": user}}
        return await self._notices.count_documents(where, limit=100, maxTimeMS=5_000)

    async def latest(self, recipients: Sequence[str], user: str, limit: int) -> list[dict[str, Any]]:
        """See `NoticeStore.latest`."""
        cursor = self._notices.find({"recipient": {"$in": list(recipients)}}, max_time_ms=5_000)
        found = await cursor.sort("raised_at", DESCENDING).limit(limit).to_list()
        return [{**document, "seen": user in document["seen_by"]} for document in found]

    async def mark_seen(self, recipients: Sequence[str], user: str, link: str | None = None) -> None:
        """See `NoticeStore.mark_seen`."""
        where: dict[str, Any] = {"recipient": {"$in": list(recipients)}, "seen_by": {"$ne": user}}
        if link is not None:
            where["link"] = link
        await self._notices.update_many(where, {"$addToSet": {"seen_by": user}})


class MongoHospitals:
    """`HospitalRegistry` on MongoDB; announces through the outbox."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], outbox: Outbox) -> None:
        self._client = database.client
        self._hospitals = database["hospitals"]
        self._outbox = outbox

    async def register(self, entry: HospitalEntry) -> None:
        """See `HospitalRegistry.register`; an entry older than the stored one is left out."""

        async def transaction(session: AsyncClientSession) -> None:
            known = await self._hospitals.find_one({"_id": entry.hospital}, session=session)
            if known is not None and known["revision"] > entry.revision:
                return
            document = entry.model_dump(exclude={"hospital"})
            if known is not None and known["revision"] == entry.revision and _entry(known) != entry:
                raise RegistryConflict(f"the entry of {entry.hospital} changed: raise its revision")
            await self._hospitals.replace_one({"_id": entry.hospital}, document, upsert=True, session=session)
            await self._outbox.add("hospital-registered", entry.event(), entry.hospital, session=session)

        async with self._client.start_session() as session:
            await session.with_transaction(transaction)
        self._outbox.notify()

    async def all(self) -> list[HospitalEntry]:
        """See `HospitalRegistry.all`."""
        found = await self._hospitals.find({}, max_time_ms=5_000).sort("_id").to_list()
        return [_entry(document) for document in found]


def _entry(document: Mapping[str, Any]) -> HospitalEntry:
    """A stored entry; fields that are younger than it have their defaults."""
    return HospitalEntry(hospital=document["_id"], **{name: document[name] for name in document if name != "_id"})
