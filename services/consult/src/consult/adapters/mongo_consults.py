"""`ConsultStore` on MongoDB: collections `consults`, `report_versions`, `numbers`, `requests`, outbox `events`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from consult.model import Consult, State, Study
from consult.ports import Outgoing
from imaging_common.messaging.outbox import Outbox

Document = dict[str, Any]
REQUESTS_KEPT_SECONDS = 7 * 24 * 3600


class MongoConsultStore:
    """A case's change, its issued report and its events are one transaction."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, outbox: Outbox) -> None:
        self._client = client
        self._db = client[database]
        self._outbox = outbox

    async def prepare(self) -> None:
        """Make the indexes."""
        consults = self._db["consults"]
        for side in ("applicant_hospital", "consultant_hospital"):
            await consults.create_index([(side, 1), ("number", -1)])
            await consults.create_index([(side, 1), ("state", 1), ("number", -1)])
        await consults.create_index([("number", 1)], unique=True)
        await consults.create_index([("studies.study_uid", 1)])
        await self._db["requests"].create_index([("at", 1)], expireAfterSeconds=REQUESTS_KEPT_SECONDS)

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

    async def insert(self, consult: Consult, outgoing: Outgoing, request_key: str | None) -> Consult:
        """See `ConsultStore.insert`."""

        async def write(session: AsyncClientSession) -> None:
            if request_key is not None:
                request = {"_id": request_key, "consult_id": consult.id, "at": datetime.now(UTC)}
                await self._db["requests"].insert_one(request, session=session)
            await self._db["consults"].insert_one(_document(consult), session=session)
            await self._send(outgoing, session)

        try:
            async with self._client.start_session() as session:
                await session.with_transaction(write)
        except DuplicateKeyError:
            made = await self.find_request(request_key) if request_key is not None else None
            if made is None:
                raise
            return made
        self._outbox.notify()
        return consult

    async def find_request(self, request_key: str) -> Consult | None:
        """See `ConsultStore.find_request`."""
        request = await self._db["requests"].find_one({"_id": request_key})
        return await self.get(request["consult_id"]) if request else None

    async def get(self, consult_id: str) -> Consult | None:
        """See `ConsultStore.get`."""
        found = await self._db["consults"].find_one({"_id": consult_id})
        return _consult(found) if found else None

    async def replace(self, consult: Consult, expected_version: int, outgoing: Outgoing) -> bool:
        """See `ConsultStore.replace`."""

        async def write(session: AsyncClientSession) -> bool:
            done = await self._db["consults"].replace_one(
                {"_id": consult.id, "version": expected_version}, _document(consult), session=session
            )
            if not done.matched_count:
                return False
            await self._freeze_report(consult, session)
            await self._send(outgoing, session)
            return True

        async with self._client.start_session() as session:
            replaced = bool(await session.with_transaction(write))
        self._outbox.notify()
        return replaced

    async def find(
        self, *, applicant_hospital: str | None, consultant_hospital: str | None, state: State | None, limit: int,
        offset: int,
    ) -> list[Consult]:  # fmt: skip
        """See `ConsultStore.find`."""
        wanted = {
            "applicant_hospital": applicant_hospital,
            "consultant_hospital": consultant_hospital,
            "state": state,
        }
        criteria = {name: value for name, value in wanted.items() if value is not None}
        cursor = self._db["consults"].find(criteria).sort("number", -1).skip(offset).limit(limit)
        return [_consult(document) async for document in cursor]

    async def with_reports(self, studies: Sequence[Study], consult_id: str | None, limit: int) -> list[Consult]:
        """See `ConsultStore.with_reports`."""
        wanted = set(studies)
        ways: list[Document] = [{"_id": consult_id}] if consult_id else []
        if wanted:
            ways.append({"studies.study_uid": {"$in": sorted({study.study_uid for study in wanted})}})
        if not ways:
            return []
        criteria = {"$or": ways, "report.issued_at": {"$ne": None}}
        cursor = self._db["consults"].find(criteria).sort("number", -1).limit(limit)
        found = [_consult(document) async for document in cursor]
        return [consult for consult in found if consult.id == consult_id or wanted & set(consult.studies)]

    async def _freeze_report(self, consult: Consult, session: AsyncClientSession) -> None:
        """Keep an issued version once, and never write it again."""
        report = consult.report
        if report is None or report.issued_at is None:
            return
        frozen = {"consult_id": consult.id, **report.model_dump()}
        await self._db["report_versions"].update_one(
            {"_id": f"{report.id}/{report.version}"}, {"$setOnInsert": frozen}, upsert=True, session=session
        )

    async def _send(self, outgoing: Outgoing, session: AsyncClientSession) -> None:
        for topic, event, key in outgoing:
            await self._outbox.add(topic, event, key, session=session)


def _document(consult: Consult) -> Document:
    return {"_id": consult.id, **consult.model_dump(exclude={"id"})}


def _consult(document: Document) -> Consult:
    return Consult.model_validate({"id": document["_id"], **document})
