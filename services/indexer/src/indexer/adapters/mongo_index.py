"""`Index` on MongoDB: one transaction per change, with the outbox's events in it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary

from pymongo import AsyncMongoClient, ReadPreference, ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from imaging_common.events import Event, HospitalRegistered, ManifestEntry, RejectedEntry
from imaging_common.messaging.outbox import Outbox
from indexer.errors import VersionTaken
from indexer.model import Announcement, Document, Known, Tally
from indexer.ports import StudyUnit

INDEXES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "studies": (
        ("study_uid",),
        ("holder", "-study_date", "-study_time"),
        ("patient.id",),
        ("accession",),
        ("patient.name.search",),
        ("quiet_due",),
    ),
    "series": (("study_key", "series_number"), ("series_uid",)),
    "instances": (
        ("series_key", "instance_number", "sop_instance_uid"),
        ("study_key", "series_key", "location.bucket", "has_edge"),
        ("sop_instance_uid",),
    ),
    "instance_versions": (("study_key",),),
    "conflicts": (("study_key",),),
}
CHANGE_DEADLINE_SECONDS = 60.0
BULK_FLAGS: Mapping[str, Any] = {"ordered": False}


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
                await self._database[collection].create_index(keys, sparse=sparse)
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


class MongoStudyUnit:
    """See `StudyUnit`."""

    def __init__(self, database: Any, session: AsyncClientSession, key: str) -> None:
        self._database = database
        self._session = session
        self._key = key
        self.events: list[tuple[str, Event, str]] = []

    async def _find(self, collection: str, where: Document, projection: Mapping[str, int] | None = None) -> list[Any]:
        found = self._database[collection].find(where, projection, session=self._session)
        return list(await found.to_list())

    async def study(self) -> Document | None:
        found: Document | None = await self._database.studies.find_one({"_id": self._key}, session=self._session)
        return found

    async def series(self) -> list[Document]:
        return await self._find("series", {"study_key": self._key})

    async def known(self, sop_instance_uids: Sequence[str]) -> dict[str, Known]:
        ids = [f"{self._key}/{uid}" for uid in dict.fromkeys(sop_instance_uids)]
        fields = {"sop_instance_uid": 1, "sha256": 1, "pixel_sha256": 1, "digests": 1, "location.key": 1}
        return {
            d["sop_instance_uid"]: Known(d["sha256"], d["pixel_sha256"], d["digests"], d["location"]["key"])
            for d in await self._find("instances", {"_id": {"$in": ids}}, fields)
        }

    async def whole(self, sop_instance_uid: str) -> Document:
        (found,) = await self._find("instances", {"_id": f"{self._key}/{sop_instance_uid}"})
        return dict(found)

    async def arrived(self) -> Mapping[str, list[str]]:
        fields = {"sop_instance_uid": 1, "digests": 1}
        found = await self._find("instances", {"study_key": self._key}, fields)
        return {document["sop_instance_uid"]: document["digests"] for document in found}

    async def tallies(self) -> list[Tally]:
        pipeline = [
            {"$match": {"study_key": self._key}},
            {
                "$group": {
                    "_id": "$series_key",
                    "instances": {"$sum": 1},
                    "stored": {"$sum": {"$cond": [{"$eq": ["$location.bucket", "archive"]}, 1, 0]}},
                    "with_edge": {"$sum": {"$cond": ["$has_edge", 1, 0]}},
                }
            },
        ]
        found = await self._database.instances.aggregate(pipeline, session=self._session)
        return [Tally(d["_id"], d["instances"], d["stored"], d["with_edge"]) for d in await found.to_list()]

    async def conflict_count(self) -> int:
        return await self._count("conflicts")

    async def correction_count(self) -> int:
        return await self._count("instance_versions")

    async def _count(self, collection: str) -> int:
        where = {"study_key": self._key}
        return int(await self._database[collection].count_documents(where, session=self._session))

    async def announcement(self) -> Announcement | None:
        found = await self._database.announcements.find_one({"_id": self._key}, session=self._session)
        if found is None:
            return None
        entries = tuple(ManifestEntry(sop_instance_uid=uid, sha256=digest) for uid, digest in found["entries"])
        rejected = tuple(RejectedEntry.model_validate(entry) for entry in found.get("rejected", []))
        return Announcement(found["number"], found["basis"], entries, rejected)

    async def put_announcement(self, announcement: Announcement) -> None:
        document = {
            "_id": self._key,
            "number": announcement.number,
            "basis": announcement.basis,
            "entries": [[entry.sop_instance_uid, entry.sha256] for entry in announcement.entries],
            "rejected": [entry.model_dump() for entry in announcement.rejected],
        }
        await self._replace("announcements", [document])

    async def put_instances(self, documents: Sequence[Document]) -> None:
        await self._replace("instances", documents)

    async def relocate(self, locations: Mapping[str, Document]) -> None:
        await self._bulk(
            "instances",
            [
                UpdateOne({"_id": f"{self._key}/{uid}"}, {"$set": {"location": location}})
                for uid, location in locations.items()
            ],
        )

    async def put_aside(self, collection: str, documents: Sequence[Document]) -> None:
        await self._replace(collection, documents)

    async def relocate_aside(self, locations: Mapping[tuple[str, str], Document]) -> None:
        for collection in ("instance_versions", "conflicts"):
            await self._bulk(
                collection,
                [
                    UpdateOne({"_id": f"{self._key}/{uid}/{sha256}"}, {"$set": {"location": location}})
                    for (uid, sha256), location in locations.items()
                ],
            )

    async def put_series(self, documents: Sequence[Document]) -> None:
        await self._bulk("series", [UpdateOne({"_id": d["_id"]}, {"$set": d}, upsert=True) for d in documents])

    async def put_study(self, document: Document, *, replaces: Mapping[str, int]) -> None:
        if replaces["epoch"] == replaces["n"] == 0:
            await self._database.studies.insert_one(document, session=self._session)
            return
        where = {"_id": self._key, "version": dict(replaces)}
        result = await self._database.studies.replace_one(where, document, session=self._session)
        if result.matched_count != 1:
            raise VersionTaken("the study changed meanwhile")

    async def replaced(self, manifest: str) -> bool:
        found = await self._database.manifests.find_one({"_id": manifest}, session=self._session)
        return bool((found or {}).get("replaced"))

    async def mark_indexed(self, manifest: str, replaces: Sequence[str]) -> None:
        operations = [UpdateOne({"_id": manifest}, {"$setOnInsert": {"replaced": False}}, upsert=True)]
        operations += [UpdateOne({"_id": old}, {"$set": {"replaced": True}}, upsert=True) for old in replaces]
        await self._bulk("manifests", operations)

    async def emit(self, topic: str, event: Event, key: str) -> None:
        self.events.append((topic, event, key))

    async def _replace(self, collection: str, documents: Sequence[Document]) -> None:
        await self._bulk(collection, [ReplaceOne({"_id": d["_id"]}, d, upsert=True) for d in documents])

    async def _bulk(self, collection: str, operations: Sequence[Any]) -> None:
        if operations:
            await self._database[collection].bulk_write(list(operations), session=self._session, **BULK_FLAGS)
