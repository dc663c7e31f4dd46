"""`ConsultStore` on MongoDB: cases, issued versions, working drafts, comments, numbers, requests, and the outbox."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from consult.adapters.boxes import criteria
from consult.model import Comment, Consult, Study, WorkingDraft
from consult.ports import BoxQuery, Change, Made, Once, Outgoing, Writing
from imaging_common.messaging.outbox import Outbox
from imaging_common.mongo import ensure_index

Document = dict[str, Any]
REQUESTS_KEPT_SECONDS = 7 * 24 * 3600


class _Stale(Exception):
    """A stored case is not what it was when it was read: the transaction ends without a trace."""


class MongoConsultStore:
    """A case's change, its issued report and its events are one transaction."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, outbox: Outbox) -> None:
        self._client = client
        self._db = client[database]
        self._outbox = outbox

    async def prepare(self) -> None:
        """Make the indexes."""
        consults = self._db["consults"]
        for side in ("applicant_hospital", "consultant_hospital", "applicant", "expert", "panel.user"):
            await consults.create_index([(side, 1), ("number", -1)])
        for side in ("applicant_hospital", "consultant_hospital"):
            await consults.create_index([(side, 1), ("state", 1), ("number", -1)])
        await ensure_index(consults, [("number", 1)], unique=True)
        await consults.create_index([("studies.study_uid", 1)])
        await consults.create_index([("attachments.id", 1)])
        await self._db["comments"].create_index([("consult_id", 1), ("at", 1)])
        await self._db["working_drafts"].create_index([("consult_id", 1), ("saved_at", -1)])
        await self._db["report_versions"].create_index([("consult_id", 1), ("version", 1)])
        await ensure_index(self._db["requests"], [("at", 1)], expireAfterSeconds=REQUESTS_KEPT_SECONDS)

    async def check(self) -> None:
        """Raise when MongoDB does not answer."""
        await self._client.admin.command("ping")

    async def next_number(self, day: str) -> str:
        """See `ConsultStore.next_number`."""
        counter = await self._db["numbers"].find_one_and_update(
            {"_id": day}, {"$inc": {"n": 1}}, upsert=True, return_document=ReturnDocument.AFTER
        )
        assert counter is not None
        return f"C-{day}-{counter['n']:04d}"

    async def commit(
        self, changes: Sequence[Change], *, once: Once | None = None, writes: Sequence[Writing] = ()
    ) -> bool:
        """See `ConsultStore.commit`."""

        async def write(session: AsyncClientSession) -> None:
            if once is not None:
                made = {"_id": once.key, "consult_id": changes[0].after.id, "digest": once.digest}
                await self._db["requests"].insert_one({**made, "at": datetime.now(UTC)}, session=session)
            for change in changes:
                await self._write(change, session)
            for further in writes:
                await further(session)
            for change in changes:
                await self._send(change.outgoing, session)

        try:
            async with self._client.start_session() as session:
                await session.with_transaction(write)
        except (_Stale, DuplicateKeyError):
            return False
        self._outbox.notify()
        return True

    async def _write(self, change: Change, session: AsyncClientSession) -> None:
        after = change.after
        if change.before is None:
            await self._db["consults"].insert_one(_document(after), session=session)
        else:
            found = await self._db["consults"].find_one({"_id": after.id}, session=session)
            if found is None or _consult(found) != change.before:
                raise _Stale
            await self._db["consults"].update_one({"_id": after.id}, {"$set": _document(after)}, session=session)
        report = after.report
        if report is not None and report.issued_at is not None:
            frozen = {"consult_id": after.id, **report.model_dump()}
            key = {"_id": f"{report.id}/{report.version}"}
            await self._db["report_versions"].update_one(key, {"$setOnInsert": frozen}, upsert=True, session=session)

    async def find_request(self, request_key: str) -> Made | None:
        """See `ConsultStore.find_request`."""
        request = await self._db["requests"].find_one({"_id": request_key})
        consult = await self.get(request["consult_id"]) if request else None
        return Made(consult, request.get("digest", "")) if request and consult else None

    async def get(self, consult_id: str) -> Consult | None:
        """See `ConsultStore.get`."""
        found = await self._db["consults"].find_one({"_id": consult_id})
        return _consult(found) if found else None

    async def find(self, query: BoxQuery) -> list[Consult]:
        """See `ConsultStore.find`."""
        wanted = criteria(query)
        if wanted is None:
            return []
        cursor = self._db["consults"].find(wanted).sort("number", -1).skip(query.offset).limit(query.limit)
        return [_consult(document) async for document in cursor]

    async def with_reports(self, studies: Sequence[Study], consult_id: str | None, limit: int) -> list[Consult]:
        """See `ConsultStore.with_reports`."""
        wanted = set(studies)
        ways: list[Document] = [{"_id": consult_id}] if consult_id else []
        if wanted:
            ways.append({"studies.study_uid": {"$in": sorted({study.study_uid for study in wanted})}})
        if not ways:
            return []
        issued = {"$or": ways, "report.issued_at": {"$ne": None}}
        cursor = self._db["consults"].find(issued).sort("number", -1).limit(limit)
        found = [_consult(document) async for document in cursor]
        return [consult for consult in found if consult.id == consult_id or wanted & set(consult.studies)]

    async def draft(self, consult_id: str, author: str) -> WorkingDraft | None:
        """See `ConsultStore.draft`."""
        found = await self._db["working_drafts"].find_one({"_id": f"{consult_id}/{author}"})
        return WorkingDraft.model_validate(found) if found else None

    async def latest_draft(self, consult_id: str) -> WorkingDraft | None:
        """See `ConsultStore.latest_draft`."""
        found = await self._db["working_drafts"].find_one({"consult_id": consult_id}, sort=[("saved_at", -1)])
        return WorkingDraft.model_validate(found) if found else None

    async def save_draft(self, consult: Consult, draft: WorkingDraft, expected_revision: int) -> bool:
        """See `ConsultStore.save_draft`. It touches the case, so that no transition passes it in between."""

        async def write(session: AsyncClientSession) -> None:
            case = {"_id": consult.id, "version": consult.version}
            touched = await self._db["consults"].update_one(case, {"$inc": {"draft_saves": 1}}, session=session)
            drafts, key = self._db["working_drafts"], f"{draft.consult_id}/{draft.author}"
            kept = await drafts.find_one({"_id": key}, {"revision": 1}, session=session)
            if not touched.matched_count or (kept["revision"] if kept else 0) != expected_revision:
                raise _Stale
            await drafts.replace_one({"_id": key}, draft.model_dump(), upsert=True, session=session)

        try:
            async with self._client.start_session() as session:
                await session.with_transaction(write)
        except (_Stale, DuplicateKeyError):
            return False
        return True

    def draft_write(self, draft: WorkingDraft) -> Writing:
        """See `ConsultStore.draft_write`."""

        async def write(session: AsyncClientSession) -> None:
            key = {"_id": f"{draft.consult_id}/{draft.author}"}
            await self._db["working_drafts"].replace_one(key, draft.model_dump(), upsert=True, session=session)

        return write

    async def comments(self, consult_id: str) -> list[Comment]:
        """See `ConsultStore.comments`."""
        cursor = self._db["comments"].find({"consult_id": consult_id}).sort("at", 1)
        return [Comment.model_validate({"id": document["_id"], **document}) async for document in cursor]

    async def add_comment(self, comment: Comment, outgoing: Outgoing) -> None:
        """See `ConsultStore.add_comment`."""

        async def write(session: AsyncClientSession) -> None:
            document = {"_id": comment.id, **comment.model_dump(exclude={"id"})}
            await self._db["comments"].insert_one(document, session=session)
            await self._send(outgoing, session)

        async with self._client.start_session() as session:
            await session.with_transaction(write)
        self._outbox.notify()

    async def _send(self, outgoing: Outgoing, session: AsyncClientSession) -> None:
        for topic, event, key in outgoing:
            await self._outbox.add(topic, event, key, session=session)


def _document(consult: Consult) -> Document:
    return {"_id": consult.id, **consult.model_dump(exclude={"id"})}


def _consult(document: Document) -> Consult:
    return Consult.model_validate({"id": document["_id"], **document})
