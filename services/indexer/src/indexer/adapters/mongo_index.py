"""`Index` on MongoDB: one transaction per change, with the outbox's events in it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from weakref import WeakValueDictionary

from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from imaging_common.events import HospitalRegistered
from imaging_common.index.listing import STUDY_INDEXES
from imaging_common.index.read import SERIES_ORDER
from imaging_common.messaging.outbox import Outbox
from imaging_common.mongo import ensure_index
from indexer.adapters.mongo_unit import MongoStudyUnit
from indexer.model import Document
from indexer.ports import StudyUnit

INDEXES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "studies": (
        *STUDY_INDEXES,
        ("quiet_due",),
    ),
    "series": (("study_key", "series_number"), ("series_uid",), ("holder", *(name for name, _ in SERIES_ORDER))),
    "instances": (
        ("series_key", "instance_number", "sop_instance_uid"),
        ("study_key", "series_key", "location.bucket", "has_edge", "header_full"),
        ("sop_instance_uid",),
    ),
    "instance_versions": (("study_key",),),
    "conflicts": (("study_key",),),
    "unlisted": (("study_key",),),
}
CHANGE_DEADLINE_SECONDS = 60.0


class MongoIndex:
    """The database `index`; one transaction at a time per study here, other copies meet by conflict."""

    def __init__(
        self, client: AsyncMongoClient[Document], database: AsyncDatabase[Document], outbox: Outbox, *, epoch: int = 1
    ) -> None:
        self._client = client
        self._database = database
        self._outbox = outbox
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.epoch = epoch

    async def prepare(self) -> None:
        """Create the database's indexes and settle the epoch: the highest that was ever set."""
        for collection, indexes in INDEXES.items():
            for fields in indexes:
                keys = [(name.removeprefix("-"), -1 if name.startswith("-") else 1) for name in fields]
                sparse = fields == ("quiet_due",)
                await ensure_index(self._database[collection], keys, sparse=sparse)
        await self._database.meta.update_one({"_id": "epoch"}, {"$max": {"epoch": self.epoch}}, upsert=True)
        stored = await self._database.meta.find_one({"_id": "epoch"})
        self.epoch = int((stored or {})["epoch"])

    async def check(self) -> None:
        """Raise when MongoDB does not answer."""
        await self._client.admin.command("ping")

    async def change(self, holder: str, study_uid: str, work: Callable[[StudyUnit], Awaitable[None]]) -> None:
        """See `Index.change`."""

        async def run(session: AsyncClientSession) -> None:
            unit = MongoStudyUnit(self._database, session, f"{holder}/{study_uid}")
            await work(unit)
            for topic, event, key in unit.events:
                await self._outbox.add(topic, event, key, session=session)

        async with (
            self._locks.setdefault(f"{holder}/{study_uid}", asyncio.Lock()),
            asyncio.timeout(CHANGE_DEADLINE_SECONDS),
            self._client.start_session() as session,
        ):
            await session.with_transaction(
                run,
                read_concern=ReadConcern("snapshot"),
                write_concern=WriteConcern("majority"),
                read_preference=ReadPreference.PRIMARY,
            )
        self._outbox.notify()

    async def indexed(self, manifests: Sequence[str]) -> set[str]:
        """See `Index.indexed`."""
        found = self._database.manifests.find({"_id": {"$in": list(manifests)}}, {"_id": 1})
        return {document["_id"] for document in await found.to_list()}

    async def purged(self, manifests: Sequence[str]) -> dict[str, datetime]:
        """See `Index.purged`."""
        where = {"_id": {"$in": list(manifests)}, "purged_at": {"$ne": None}}
        found = self._database.manifests.find(where, {"purged_at": 1})
        return {document["_id"]: document["purged_at"] for document in await found.to_list()}

    async def forget(self, manifest: str) -> None:
        """See `Index.forget`."""
        await self._database.manifests.delete_one({"_id": manifest, "purged_at": {"$ne": None}})

    async def announced(self, holder: str, study_uid: str) -> int:
        """See `Index.announced`."""
        found = await self._database.announcements.find_one({"_id": f"{holder}/{study_uid}"}, {"number": 1})
        return int((found or {}).get("number", 0))

    async def quiet_due(self, now: datetime) -> list[tuple[str, str]]:
        """See `Index.quiet_due`."""
        due = self._database.studies.find({"quiet_due": {"$lte": now}}, {"holder": 1, "study_uid": 1}).limit(100)
        return [(document["holder"], document["study_uid"]) for document in await due.to_list()]

    async def register(self, hospital: HospitalRegistered) -> None:
        """See `Index.register`."""
        try:
            await self._database.hospitals.update_one(
                {"_id": hospital.hospital, "revision": {"$lt": hospital.revision}},
                {"$set": hospital.model_dump()},
                upsert=True,
            )
        except DuplicateKeyError:
            return

    async def tier_of(self, holder: str) -> str:
        """See `Index.tier_of`."""
        found = await self._database.hospitals.find_one({"_id": holder}, {"tier": 1})
        return str((found or {}).get("tier", "central"))
