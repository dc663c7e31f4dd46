"""`Reports` on MongoDB: collections `reports`, `report_versions`, `report_matches` and `report_work` of the index."""

from collections.abc import Mapping
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from imaging_common.mongo import ensure_index
from indexer.errors import ReportTaken
from indexer.model import Document
from indexer.reports import Candidate, Statement

INDEXES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "reports": (("study_key", "-issued_at"), ("hospital", "-issued_at"), ("-issued_at",)),
    "report_versions": (("report",),),
}
STUDY_FIELDS = {"study_uid": 1, "accession": 1, "patient.id": 1}


class MongoReports:
    """See `Reports`. Versions never change; a report's document is replaced under its revision."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._database = database

    async def prepare(self) -> None:
        """Create the indexes."""
        for collection, indexes in INDEXES.items():
            for fields in indexes:
                keys = [(name.removeprefix("-"), -1 if name.startswith("-") else 1) for name in fields]
                await self._database[collection].create_index(keys)
        in_review = {"matched": "review"}
        await ensure_index(self._database.reports, [("received_at", -1)], partialFilterExpression=in_review)
        await ensure_index(self._database.reports, [("matched", 1), ("_id", 1)], partialFilterExpression=in_review)
        await ensure_index(self._database.reports, [("uncounted", 1)], sparse=True)

    async def put_version(self, version: Document) -> None:
        """See `Reports.put_version`."""
        fields = {name: value for name, value in version.items() if name != "_id"}
        try:
            await self._database.report_versions.update_one(
                {"_id": version["_id"]}, {"$setOnInsert": fields}, upsert=True
            )
        except DuplicateKeyError:
            return

    async def put_statement(self, report: str, statement: Statement) -> bool:
        """See `Reports.put_statement`."""
        fields = {"study_uid": statement.study_uid, "revision": statement.revision, "user": statement.user}
        try:
            await self._database.report_matches.update_one(
                {"_id": report, "revision": {"$lt": statement.revision}}, {"$set": fields}, upsert=True
            )
        except DuplicateKeyError:
            return False
        return True

    async def load(self, report: str) -> tuple[list[Document], Statement | None, Document | None]:
        """See `Reports.load`."""
        versions = await self._database.report_versions.find({"report": report}).to_list()
        said = await self._database.report_matches.find_one({"_id": report})
        present: Document | None = await self._database.reports.find_one({"_id": report})
        statement = Statement(said["study_uid"], said["revision"], said["user"]) if said else None
        return versions, statement, present

    async def candidates(self, hospital: str, study_uids: list[str], accessions: list[str]) -> list[Candidate]:
        """See `Reports.candidates`."""
        ways: list[Document] = []
        if study_uids:
            ways.append({"_id": {"$in": [f"{hospital}/{uid}" for uid in study_uids]}})
        if accessions:
            ways.append({"holder": hospital, "accession": {"$in": accessions}})
        if not ways:
            return []
        found = await self._database.studies.find({"$or": ways}, STUDY_FIELDS).to_list()
        return [Candidate(d["_id"], d["study_uid"], d["accession"], d["patient"].get("id", "")) for d in found]

    async def replace(self, document: Document, revision: int) -> None:
        """See `Reports.replace`."""
        try:
            result = await self._database.reports.replace_one(
                {"_id": document["_id"], "revision": revision}, document, upsert=revision == 0
            )
        except DuplicateKeyError:
            raise ReportTaken("the report changed meanwhile") from None
        if result.matched_count == 0 and result.upserted_id is None:
            raise ReportTaken("the report changed meanwhile")

    async def counted(self, report: str, study_keys: list[str]) -> None:
        """See `Reports.counted`."""
        await self._database.reports.update_one({"_id": report, "uncounted": study_keys}, {"$unset": {"uncounted": ""}})

    async def uncounted(self, limit: int) -> list[tuple[str, list[str]]]:
        """See `Reports.uncounted`."""
        found = self._database.reports.find({"uncounted": {"$exists": True}}, {"uncounted": 1}).limit(limit)
        return [(document["_id"], document["uncounted"]) for document in await found.to_list()]

    async def unmatched(self, after: str, limit: int) -> list[Document]:
        """See `Reports.unmatched`."""
        where: Document = {"matched": "review"}
        fields = {"hospital": 1, "study_uid": 1, "accession": 1, "patient.id": 1}
        if after:
            cursor = self._database.reports.find(where | {"_id": {"$gt": after}}, fields).sort("_id", 1)
        else:
            cursor = self._database.reports.find(where, fields).sort("received_at", -1)
        return list(await cursor.limit(limit).to_list())

    async def known_versions(self, ids: list[str]) -> set[str]:
        """See `Reports.known_versions`."""
        found = await self._database.report_versions.find({"_id": {"$in": ids}}, {"_id": 1}).to_list()
        return {document["_id"] for document in found}

    async def work(self, limit: int) -> list[tuple[str, Any, Document | None]]:
        """See `Reports.work`; headers are read one page at a time."""
        rows = await self._database.report_work.find().limit(limit).to_list()
        ids = [row["_id"] for row in rows]
        found = await self._database.instances.find({"_id": {"$in": ids}}, {"location": 0, "digests": 0}).to_list()
        instances = {document["_id"]: document for document in found}
        return [(row["_id"], row["mark"], instances.get(row["_id"])) for row in rows]

    async def done(self, instance_key: str, mark: Any) -> None:
        """See `Reports.done`."""
        await self._database.report_work.delete_one({"_id": instance_key, "mark": mark})
