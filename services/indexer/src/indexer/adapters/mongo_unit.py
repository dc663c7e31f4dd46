"""`StudyUnit` on MongoDB: one study inside one transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo import InsertOne, ReplaceOne, ReturnDocument, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from imaging_common.events import Event, ManifestEntry, RejectedEntry, Version
from imaging_common.objects.model import ARCHIVE_BUCKET, CACHE_BUCKET, STAGING_BUCKET
from indexer.errors import VersionTaken
from indexer.identity import Known, known_of
from indexer.model import Announcement, Document, Tally
from indexer.ports import Fate
from indexer.reports import may_report
from indexer.residents import Link

KNOWN_FIELDS: Mapping[str, int] = dict.fromkeys(
    (
        "sop_instance_uid", "sha256", "pixel_sha256", "digests", "location.bucket", "transfer_syntax_uid",
        "header_full", "header_digest", "pacs_digest",
    ),
    1,
)  # fmt: skip
TALLY: Mapping[str, Any] = {
    "$group": {
        "_id": "$series_key",
        "instances": {"$sum": 1},
        "stored": {"$sum": {"$cond": [{"$eq": ["$location.bucket", "archive"]}, 1, 0]}},
        "with_edge": {"$sum": {"$cond": ["$has_edge", 1, 0]}},
        "online": {"$sum": {"$cond": [{"$gt": ["$location.bucket", None]}, 1, 0]}},
        "central": {"$sum": {"$cond": [{"$in": ["$location.bucket", ["staging", "archive"]]}, 1, 0]}},
        "headers": {"$sum": {"$cond": [{"$ne": ["$header_full", False]}, 1, 0]}},
    }
}
"""Reads the index that covers it, no document."""
BULK_FLAGS: Mapping[str, Any] = {"ordered": False}


class MongoStudyUnit:
    """See `StudyUnit`."""

    def __init__(self, database: Any, session: AsyncClientSession, key: str) -> None:
        self._database = database
        self._session = session
        self._key = key
        self.events: list[tuple[str, Event, str]] = []
        self._study: list[Document | None] = []
        """What was read, once it was: nobody else writes inside this transaction."""
        self._series: dict[str, Document] | None = None

    async def _find(self, collection: str, where: Document, projection: Mapping[str, int] | None = None) -> list[Any]:
        found = self._database[collection].find(where, projection, session=self._session)
        return list(await found.to_list())

    async def study(self) -> Document | None:
        if not self._study:
            self._study = [await self._database.studies.find_one({"_id": self._key}, session=self._session)]
        (found,) = self._study
        return found and dict(found)

    async def series(self) -> list[Document]:
        if self._series is None:
            self._series = {
                document["_id"]: document for document in await self._find("series", {"study_key": self._key})
            }
        return [dict(document) for document in self._series.values()]

    async def known(self, sop_instance_uids: Sequence[str]) -> dict[str, Known]:
        ids = [f"{self._key}/{uid}" for uid in dict.fromkeys(sop_instance_uids)]
        found = await self._find("instances", {"_id": {"$in": ids}}, KNOWN_FIELDS)
        return {document["sop_instance_uid"]: known_of(document) for document in found}

    async def wholes(self, sop_instance_uids: Sequence[str]) -> list[Document]:
        if not sop_instance_uids:
            return []
        return await self._find("instances", {"_id": {"$in": [f"{self._key}/{uid}" for uid in sop_instance_uids]}})

    async def versions(self, sop_instance_uid: str) -> list[Document]:
        where = {"study_key": self._key, "sop_instance_uid": sop_instance_uid}
        return await self._find("instance_versions", where)

    async def listed(self) -> list[str]:
        found = await self._find("instances", {"_id": {"$gt": f"{self._key}/", "$lt": f"{self._key}0"}}, {"_id": 1})
        return sorted(document["_id"].rsplit("/", 1)[1] for document in found)

    async def first_of(self, series_key: str) -> Document | None:
        found: Document | None = await self._database.instances.find_one(
            {"series_key": series_key}, sort=[("sop_instance_uid", 1)], session=self._session
        )
        return found

    async def unlisted(self, sop_instance_uids: Sequence[str]) -> dict[str, Document]:
        rows = await self._find("unlisted", {"_id": {"$in": [f"{self._key}/{uid}" for uid in sop_instance_uids]}})
        return {row["_id"].rsplit("/", 1)[1]: row for row in rows}

    async def lying_in(self, collection: str, keys: Sequence[str]) -> list[Document]:
        where = {"study_key": self._key, "location.key": {"$in": list(keys)}}
        return await self._find(collection, where, {"header": 0})

    async def arrived(self) -> Mapping[str, list[str]]:
        fields = {"sop_instance_uid": 1, "digests": 1}
        found = await self._find("instances", {"study_key": self._key}, fields)
        return {document["sop_instance_uid"]: document["digests"] for document in found}

    async def tallies(self) -> list[Tally]:
        found = await self._database.instances.aggregate(
            [{"$match": {"study_key": self._key}}, TALLY], session=self._session
        )
        return [Tally(d.pop("_id"), **d) for d in await found.to_list()]

    async def report_count(self) -> int:
        return await self._count("reports", {"study_key": self._key})

    async def aside_counts(self) -> Document:
        where = {"study_key": self._key}
        return {
            "conflicts": await self._count("conflicts", where),
            "corrections": await self._count("instance_versions", {**where, "purged": {"$ne": True}}),
            "unlisted": await self._count("unlisted", where),
        }

    async def _count(self, collection: str, where: Document) -> int:
        return int(await self._database[collection].count_documents(where, session=self._session))

    async def announcement(self) -> Announcement | None:
        found = await self._database.announcements.find_one({"_id": self._key}, session=self._session)
        if found is None:
            return None
        entries = tuple(ManifestEntry(sop_instance_uid=uid, sha256=digest) for uid, digest in found["entries"])
        rejected = tuple(RejectedEntry.model_validate(entry) for entry in found.get("rejected", []))
        return Announcement(
            found["number"],
            found["basis"],
            entries,
            rejected,
            found.get("listed"),
            found.get("facts_digest", ""),
            found.get("withdrawn", False),
            found.get("announced_at"),
        )

    async def link(self, patient_key: str) -> Link:
        found = await self._database.links.find_one_and_update(
            {"_id": patient_key},
            {"$inc": {"touched": 1}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=self._session,
        )
        return Link(found.get("resident_id"), found.get("linked_by", ""))

    async def is_hospital(self, name: str) -> bool:
        return await self._database.hospitals.find_one({"_id": name}, {"_id": 1}, session=self._session) is not None

    async def put_announcement(self, announcement: Announcement) -> None:
        document = {
            "_id": self._key,
            "number": announcement.number,
            "basis": announcement.basis,
            "entries": [[entry.sop_instance_uid, entry.sha256] for entry in announcement.entries],
            "rejected": [entry.model_dump() for entry in announcement.rejected],
            "listed": announcement.listed,
            "facts_digest": announcement.facts_digest,
            "withdrawn": announcement.withdrawn,
            "announced_at": announcement.announced_at,
        }
        await self._replace("announcements", [document])

    async def put_instances(self, documents: Sequence[Document], *, new: bool = False) -> None:
        if new:
            await self._bulk("instances", [InsertOne(document) for document in documents])
        else:
            await self._replace("instances", documents)
        await self._note_reports([d["_id"] for d in documents if may_report(d["sop_class_uid"], d["header"])])

    async def amend(self, changes: Mapping[str, Document]) -> None:
        await self._note_reports_among({uid: fields["header"] for uid, fields in changes.items() if "header" in fields})
        await self._bulk(
            "instances",
            [UpdateOne({"_id": f"{self._key}/{uid}"}, {"$set": fields}) for uid, fields in changes.items()],
        )

    async def remove(self, sop_instance_uids: Sequence[str]) -> None:
        await self._note_reports_among(dict.fromkeys(sop_instance_uids))
        await self._delete("instances", [f"{self._key}/{uid}" for uid in sop_instance_uids])

    async def _note_reports_among(self, headers: Mapping[str, bytes | None]) -> None:
        ids = {f"{self._key}/{uid}": header for uid, header in headers.items()}
        found = await self._find("instances", {"_id": {"$in": list(ids)}}, {"sop_class_uid": 1}) if ids else []
        await self._note_reports([d["_id"] for d in found if may_report(d["sop_class_uid"], ids[d["_id"]])])

    async def _note_reports(self, ids: Sequence[str]) -> None:
        """What `IndexReport.round` is to look at."""
        marks = [UpdateOne({"_id": key}, {"$set": {"mark": ObjectId()}}, upsert=True) for key in ids]
        await self._bulk("report_work", marks)

    async def unlist(self, reasons: Mapping[str, Document]) -> None:
        await self._replace(
            "unlisted",
            [{**why, "_id": f"{self._key}/{uid}", "study_key": self._key} for uid, why in reasons.items()],
        )

    async def relist(self, sop_instance_uids: Sequence[str]) -> None:
        await self._delete("unlisted", [f"{self._key}/{uid}" for uid in sop_instance_uids])

    async def _delete(self, collection: str, ids: Sequence[str]) -> None:
        if ids:
            await self._database[collection].delete_many({"_id": {"$in": list(ids)}}, session=self._session)

    async def put_aside(self, collection: str, documents: Sequence[Document]) -> None:
        await self._replace(collection, documents)

    async def relocate_aside(self, locations: Mapping[tuple[str, str], Document | None]) -> None:
        for collection in ("instance_versions", "conflicts"):
            await self._bulk(
                collection,
                [
                    UpdateOne({"_id": f"{self._key}/{uid}/{sha256}"}, {"$set": {"location": location}})
                    for (uid, sha256), location in locations.items()
                ],
            )

    async def put_series(self, documents: Sequence[Document]) -> None:
        if self._series is not None:
            for document in documents:
                self._series[document["_id"]] = {**self._series.get(document["_id"], {}), **document}
        await self._bulk("series", [UpdateOne({"_id": d["_id"]}, {"$set": d}, upsert=True) for d in documents])

    async def remove_series(self, series_keys: Sequence[str]) -> None:
        await self._delete("series", series_keys)
        self._series = None if series_keys else self._series

    async def put_study(self, document: Document, *, replaces: Mapping[str, int]) -> None:
        self._study = []
        if replaces["epoch"] == replaces["n"] == 0:
            await self._database.studies.insert_one(document, session=self._session)
            return
        where = {"_id": self._key, "version": dict(replaces)}
        result = await self._database.studies.replace_one(where, document, session=self._session)
        if result.matched_count != 1:
            raise VersionTaken("the study changed meanwhile")

    async def fate_of(self, manifest: str) -> Fate:
        found = await self._database.manifests.find_one({"_id": manifest}, session=self._session)
        return Fate.NEW if found is None else Fate.REPLACED if found.get("replaced") else Fate.INDEXED

    async def mark_indexed(self, manifest: str, replaces: Sequence[str]) -> None:
        operations = [UpdateOne({"_id": manifest}, {"$setOnInsert": {"replaced": False}}, upsert=True)]
        operations += [UpdateOne({"_id": old}, {"$set": {"replaced": True}}, upsert=True) for old in replaces]
        await self._bulk("manifests", operations)

    async def forget_indexed(self) -> None:
        below = [f"{bucket}/{self._key}" for bucket in (STAGING_BUCKET, ARCHIVE_BUCKET, CACHE_BUCKET)]
        where = {
            "$or": [{"_id": {"$gt": f"{folder}/", "$lt": f"{folder}0"}} for folder in below],
            "replaced": {"$ne": True},
            "purged_at": None,
        }
        await self._database.manifests.delete_many(where, session=self._session)

    async def places(self) -> set[tuple[str, str]]:
        found = set[tuple[str, str]]()
        for collection in ("instances", "instance_versions", "conflicts"):
            pipeline = [
                {"$match": {"study_key": self._key, "location": {"$ne": None}}},
                {"$group": {"_id": {"bucket": "$location.bucket", "key": "$location.key"}}},
            ]
            rows = await self._database[collection].aggregate(pipeline, session=self._session)
            found |= {(row["_id"]["bucket"], row["_id"]["key"]) for row in await rows.to_list()}
        return found

    async def told(self) -> Version | None:
        found = await self._database.told.find_one({"_id": self._key}, session=self._session)
        return Version.model_validate(found["version"]) if found else None

    async def note_told(self, version: Version) -> None:
        await self._replace("told", [{"_id": self._key, "version": version.model_dump()}])

    async def mark_replaced(self, manifests: Sequence[str], purged_at: datetime | None = None) -> None:
        marked = {"$set": {"replaced": True, **({} if purged_at is None else {"purged_at": purged_at})}}
        await self._bulk("manifests", [UpdateOne({"_id": name}, marked, upsert=True) for name in manifests])

    async def emit(self, topic: str, event: Event, key: str) -> None:
        self.events.append((topic, event, key))

    async def _replace(self, collection: str, documents: Sequence[Document]) -> None:
        await self._bulk(collection, [ReplaceOne({"_id": d["_id"]}, d, upsert=True) for d in documents])

    async def _bulk(self, collection: str, operations: Sequence[Any]) -> None:
        if operations:
            await self._database[collection].bulk_write(list(operations), session=self._session, **BULK_FLAGS)
