"""Grants and the hospital registry in MongoDB (`gateway.grants`, `.hospitals`)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from gateway.cases import CaseGrant, parents_of, reopened, resolved
from gateway.errors import RegistryConflict
from gateway.model import HospitalEntry
from imaging_common.access import CONSULT_ROLE, EDGE_ROLE
from imaging_common.auth import Claims
from imaging_common.messaging.outbox import Outbox
from imaging_common.mongo import ensure_index

KEEP_SECONDS = 90 * 24 * 3600
"""How long an ended case and a notice stay: longer than the topics, so that no late event revives one."""
FILING_TIME = timedelta(days=7)
"""So long after a report was issued the consult service may see the case's studies."""


class MongoGrants:
    """`GrantStore` on MongoDB: one document a consult; its version guards the order."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._grants = database["grants"]

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._grants.create_index([("consultant_hospital", 1), ("open", 1)])
        await self._grants.create_index([("applicant", 1), ("open", 1)])
        await self._grants.create_index([("applicant_hospital", 1), ("open", 1)])
        await self._grants.create_index([("parties.user", 1), ("open", 1)])
        await ensure_index(self._grants, "issued_at", sparse=True)
        await ensure_index(self._grants, "ended_at", expireAfterSeconds=KEEP_SECONDS)

    async def put(self, grant: CaseGrant) -> bool:
        """See `GrantStore.put`."""
        epoch, n = grant.version.epoch, grant.version.n
        older = [{"version.epoch": {"$lt": epoch}}, {"version.epoch": epoch, "version.n": {"$lt": n}}]
        document = grant.model_dump(exclude={"consult_id", "issued_at"})
        try:
            await self._grants.update_one({"_id": grant.consult_id, "$or": older}, {"$set": document}, upsert=True)
            newer = True
        except DuplicateKeyError:
            newer = False
        if grant.issued_at is not None:  # Its topic may be read after the one that tells how the case ended.
            await self._grants.update_one({"_id": grant.consult_id}, {"$max": {"issued_at": grant.issued_at}})
        return newer

    async def of_person(self, claims: Claims) -> list[CaseGrant]:
        """See `GrantStore.of_person`."""
        if CONSULT_ROLE in claims.roles:
            return await self._issued(datetime.now(UTC) - FILING_TIME)
        if EDGE_ROLE in claims.roles:
            hospital = claims.hospital
            if not hospital:
                return []
            asked: dict[str, Any] = {"consultant_hospital": hospital, "by_name": {"$ne": True}}
            return await self._open({"$or": [{"applicant_hospital": hospital}, asked], "workstation": True})
        by_name = {"user": claims.user, "hospital": claims.hospital}
        ways: list[dict[str, Any]] = [
            {"applicant": claims.user, "applicant_hospital": claims.hospital},
            {"parties": {"$elemMatch": by_name}},
        ]
        if "expert" in claims.roles and claims.hospital:
            ways.append({"consultant_hospital": claims.hospital, "by_name": {"$ne": True}})
        if "doctor" in claims.roles and claims.hospital:
            ways.append({"applicant_hospital": claims.hospital})
        return await self._open({"$or": ways})

    async def _open(self, where: dict[str, Any]) -> list[CaseGrant]:
        """The open cases, with what they have from the cases they escalate."""
        found = await self._find({**where, "open": True})
        return resolved(found, await self._with_parents(found))

    async def _issued(self, since: datetime) -> list[CaseGrant]:
        """The cases with a report issued since then, also those that have ended meanwhile."""
        found = reopened(await self._find({"issued_at": {"$gte": since}}))
        known = await self._with_parents(found)
        return resolved(found, {case.consult_id: case for case in reopened(known.values())})

    async def _with_parents(self, found: list[CaseGrant]) -> dict[str, CaseGrant]:
        known = {case.consult_id: case for case in found}
        while missing := parents_of(known.values(), known):
            below = {case.consult_id: case for case in await self._find({"_id": {"$in": sorted(missing)}})}
            if not below:
                break
            known |= below
        return known

    async def _find(self, where: dict[str, Any]) -> list[CaseGrant]:
        cursor = self._grants.find(where, max_time_ms=5_000)
        return [CaseGrant(consult_id=document.pop("_id"), **document) async for document in cursor]


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
    """A stored entry; fields that are younger than it have their defaults, those of a later release are passed over."""
    return HospitalEntry.model_validate({**document, "hospital": document["_id"]}, extra="ignore")
