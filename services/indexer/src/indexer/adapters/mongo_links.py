"""`Links` on MongoDB: collections `links` and `merges` of the index."""

from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from imaging_common.events import PatientLinked, PatientUnlinked, ResidentMerged
from imaging_common.mongo import ensure_index
from indexer.model import Document
from indexer.residents import UNLINKED, heard, patient_key


class MongoLinks:
    """See `Links`."""

    def __init__(self, client: AsyncMongoClient[Document], database: AsyncDatabase[Document]) -> None:
        self._client = client
        self._database = database

    async def prepare(self) -> None:
        """See `Links.prepare`."""
        await self._database.links.create_index([("linked_by", 1), ("hospital", 1)])
        await ensure_index(self._database.links, [("unapplied", 1)], sparse=True)
        await self._database.links.create_index([("resident_id", 1)])
        await self._database.merges.create_index([("into", 1)])

    async def hear(self, event: PatientLinked | PatientUnlinked) -> Document:
        """See `Links.hear`."""
        key = patient_key(event.hospital, event.patient_id)

        async def transaction(session: AsyncClientSession) -> Document:
            known: Document | None = await self._database.links.find_one({"_id": key}, session=session)
            document = heard(known or {"_id": key}, event)
            if document["revision"] != document.get("applied_revision", 0):
                document["unapplied"] = True
            if document != known:
                await self._database.links.replace_one({"_id": key}, document, upsert=True, session=session)
            return document

        async with self._client.start_session() as session:
            return await session.with_transaction(
                transaction, read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority")
            )

    async def behind(self, key: str, limit: int) -> tuple[Document, list[tuple[str, str]]]:
        """See `Links.behind`."""
        link = await self._database.links.find_one({"_id": key}) or {"_id": key, **UNLINKED._asdict()}
        where: dict[str, Any] = {
            "patient_key": link["_id"],
            "$or": [{name: {"$ne": link[name]}} for name in ("resident_id", "linked_by")],
        }
        found = await self._database.studies.find(where, {"holder": 1, "study_uid": 1}).limit(limit).to_list()
        return link, [(document["holder"], document["study_uid"]) for document in found]

    async def mark_applied(self, link: Document) -> None:
        """See `Links.mark_applied`."""
        await self._database.links.update_one(
            {"_id": link["_id"], "revision": link.get("revision")},
            {"$set": {"applied_revision": link.get("revision")}, "$unset": {"unapplied": ""}},
        )

    async def unapplied(self, limit: int) -> list[str]:
        """See `Links.unapplied`."""
        found = await self._database.links.find({"unapplied": True}, {"_id": 1}).limit(limit).to_list()
        return [document["_id"] for document in found]

    async def merge(self, event: ResidentMerged) -> None:
        """See `Links.merge`."""
        later = [{"revision": {"$lt": event.revision}}, {"revision": event.revision, "into": {"$lt": event.into}}]
        try:
            await self._database.merges.update_one(
                {"_id": event.resident_id, "$or": later},
                {"$set": {"into": event.into, "revision": event.revision}},
                upsert=True,
            )
        except DuplicateKeyError:
            return  # A later statement is known.
