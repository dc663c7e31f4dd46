"""`FeedStore` on MongoDB: collections `organisations`, `residents`, `latest`, `feed`, `feed.heads`, `snapshots`.

An organisation's numbers are given inside the transaction that puts the statements in: two transactions on one feed
conflict, so that numbers have no gaps and a statement with a greater number was never committed before a smaller one.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from imaging_common.events import ReportAmended, ReportDelivered, ReportIssued, StudyChanged
from imaging_common.mongo import ensure_index
from notification.feed.errors import NoOrganisation, OrganisationChanged, OrganisationExists
from notification.feed.model import (
    Facts,
    FeedEntry,
    FeedState,
    Organisation,
    Snapshot,
    Statement,
    concerns,
    missed,
)
from notification.feed.mongo_documents import (
    Document,
    entry_of,
    organisation_document,
    organisation_of,
    snapshot_document,
    snapshot_of,
    statement_document,
    statement_of,
)

DEADLINE_MS = 5_000
SNAPSHOT_BATCH = 100
REPORTS = [kind.type_name() for kind in (ReportIssued, ReportAmended, ReportDelivered)]
Told = dict[str, list[Statement]]
"""Organisation → what it is to be told."""


class MongoFeed:
    """Every copy of the service may write."""

    def __init__(
        self,
        client: AsyncMongoClient[Document],
        database: str,
        retention: timedelta,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self.database = client[database]
        self._organisations = self.database["organisations"]
        self._residents = self.database["residents"]
        self._latest = self.database["latest"]
        self._feed = self.database["feed"]
        self._heads = self.database["feed.heads"]
        self._published = self.database["feed.published"]
        self._snapshots = self.database["snapshots"]
        self._retention = retention
        self._clock = clock
        self._turn = asyncio.Lock()
        self._listeners: list[asyncio.Event] = []

    def listen(self) -> asyncio.Event:
        """An event that is set when this copy put something in."""
        self._listeners.append(asyncio.Event())
        return self._listeners[-1]

    async def prepare(self) -> None:
        """Make the indexes."""
        await self._latest.create_index([("studies", 1)])
        await ensure_index(self._latest, [("resident", 1)], partialFilterExpression={"resident": {"$type": "string"}})
        await ensure_index(self._feed, [("organisation", 1), ("seq", 1)], unique=True)
        await ensure_index(self._feed, [("organisation", 1), ("event_id", 1)], unique=True)
        await self._feed.create_index([("organisation", 1), ("at", 1)])
        await ensure_index(self._feed, "expires_at", expireAfterSeconds=0)
        await self._snapshots.create_index([("done_at", 1), ("created_at", 1)])

    async def take(self, statement: Statement) -> None:
        """See `FeedStore.take`.

        An organisation or a link that was changed meanwhile is looked at again: whoever changes it begins the snapshot
        after its own commit, and what is committed before that is either seen by the snapshot or judged again here.
        """
        while True:
            async with self._turn, self._client.start_session() as session:
                judged: tuple[list[Organisation], dict[str, frozenset[str]]] = await session.with_transaction(
                    lambda s: self._take(statement, s)
                )
            self._tell()
            if judged == (await self._all(None), await self._linked(list(judged[1]), None)):
                return

    async def _take(
        self, statement: Statement, session: AsyncClientSession
    ) -> tuple[list[Organisation], dict[str, frozenset[str]]]:
        organisations = await self._all(session)
        kept = await self._latest.find_one({"_id": statement.aggregate}, session=session)
        again = kept is not None and kept["event_id"] == statement.event_id
        newest = kept is None or again or tuple(kept["order"]) < statement.order
        was = None if kept is None else kept["was"] if again else kept["resident"]
        if isinstance(statement.event, StudyChanged):
            residents = {one for one in (statement.resident, was) if one}
        else:
            residents = await self._residents_of(statement.studies, session)
        linked = await self._linked(sorted(residents), session)
        if newest:
            changed = statement_document(statement, was)
            await self._latest.replace_one({"_id": statement.aggregate}, changed, upsert=True, session=session)
        facts = Facts(frozenset().union(*linked.values()))
        told: Told = {one.id: [statement] for one in organisations if concerns(one, statement.event, facts)}
        if newest and statement.resident and statement.resident != was:
            reports = await self._reports_on(statement.aggregate, session)
            owners = Facts(linked[statement.resident])
            for one in organisations:
                brought = [r for r in reports if concerns(one, r.event, owners) and not concerns(one, r.event)]
                if brought:
                    told.setdefault(one.id, []).extend(brought)
        await self._put(told, session)
        return organisations, linked

    async def _reports_on(self, study: str, session: AsyncClientSession) -> list[Statement]:
        found = self._latest.find({"studies": study, "type": {"$in": REPORTS}}, session=session)
        return [statement_of(document) async for document in found]

    async def _put(self, told: Told, session: AsyncClientSession) -> int:
        """Append what is not there yet; how many were."""
        put = 0
        for organisation, statements in sorted(told.items()):
            asked = {"organisation": organisation, "event_id": {"$in": [one.event_id for one in statements]}}
            there = {one["event_id"] async for one in self._feed.find(asked, {"event_id": 1}, session=session)}
            new = [one for one in statements if one.event_id not in there]
            if not new:
                continue
            head = await self._heads.find_one_and_update(
                {"_id": organisation},
                {"$inc": {"newest": len(new)}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
                session=session,
            )
            assert head is not None
            first, now = head["newest"] - len(new) + 1, self._clock()
            await self._feed.insert_many(
                [
                    {
                        "organisation": organisation,
                        "seq": first + offset,
                        "at": now,
                        "expires_at": now + self._retention,
                        "event_id": one.event_id,
                        "type": one.event.type_name(),
                        "key": one.key,
                        "data": one.event.model_dump_json(),
                        "traceparent": one.traceparent,
                    }
                    for offset, one in enumerate(new)
                ],
                session=session,
            )
            put += len(new)
        return put

    async def link(self, resident: str, organisation: str) -> None:
        """See `FeedStore.link`."""

        async def write(session: AsyncClientSession) -> None:
            done = await self._residents.update_one(
                {"_id": resident}, {"$addToSet": {"organisations": organisation}}, upsert=True, session=session
            )
            if done.modified_count or done.upserted_id is not None:
                await self._begin(Snapshot(**self._new(organisation), kind="resident", resident=resident), session)

        await self._transact(write)

    async def merge(self, resident: str, into: str) -> None:
        """See `FeedStore.merge`."""
        for organisation in sorted((await self._linked([resident], None))[resident]):
            await self.link(into, organisation)

    async def ensure(self, organisation: Organisation) -> None:
        """See `FeedStore.ensure`."""
        try:
            await self.add(organisation)
        except OrganisationExists:
            return

    async def add(self, organisation: Organisation) -> None:
        """See `FeedStore.add`."""

        async def write(session: AsyncClientSession) -> None:
            await self._organisations.insert_one(organisation_document(organisation), session=session)
            await self._begin(Snapshot(**self._new(organisation.id), kind="hospitals"), session)

        try:
            await self._transact(write)
        except DuplicateKeyError as error:
            raise OrganisationExists(organisation.id) from error

    async def change(self, organisation: Organisation) -> Organisation:
        """See `FeedStore.change`."""
        after = organisation.model_copy(update={"revision": organisation.revision + 1})

        async def write(session: AsyncClientSession) -> None:
            kept = await self._organisations.find_one({"_id": organisation.id}, session=session)
            if kept is None:
                raise NoOrganisation(organisation.id)
            before = organisation_of(kept)
            if before.revision != organisation.revision:
                raise OrganisationChanged(organisation.id)
            await self._organisations.replace_one(
                {"_id": organisation.id}, organisation_document(after), session=session
            )
            if after.hospitals - before.hospitals:
                job = Snapshot(**self._new(organisation.id), kind="hospitals", before=before.hospitals)
                await self._begin(job, session)

        await self._transact(write)
        return after

    async def organisations(self) -> list[Organisation]:
        """See `FeedStore.organisations`."""
        return await self._all(None)

    async def state(self, organisation: str) -> FeedState:
        """See `FeedStore.state`."""
        head = await self._heads.find_one({"_id": organisation}, max_time_ms=DEADLINE_MS)
        newest = head["newest"] if head else 0
        done = await self._published.find_one({"_id": organisation}, max_time_ms=DEADLINE_MS)
        first = await self._feed.find_one(
            {"organisation": organisation}, {"seq": 1}, sort=[("seq", ASCENDING)], max_time_ms=DEADLINE_MS
        )
        return FeedState(newest, first["seq"] if first else newest + 1, done["seq"] if done else 0)

    async def entries(self, organisation: str, after: int, limit: int) -> list[FeedEntry]:
        """See `FeedStore.entries`."""
        where = {"organisation": organisation, "seq": {"$gt": after}}
        found = self._feed.find(where, max_time_ms=DEADLINE_MS).sort("seq", ASCENDING).limit(limit)
        return [entry_of(document) async for document in found]

    async def seq_at(self, organisation: str, since: datetime) -> int:
        """See `FeedStore.seq_at`."""
        where = {"organisation": organisation, "at": {"$gte": since}}
        first = await self._feed.find_one(where, {"seq": 1}, sort=[("seq", ASCENDING)], max_time_ms=DEADLINE_MS)
        return first["seq"] - 1 if first else (await self.state(organisation)).newest

    async def published(self, organisation: str, seq: int) -> None:
        """See `FeedStore.published`."""
        await self._published.update_one({"_id": organisation}, {"$max": {"seq": seq}}, upsert=True)

    async def step_snapshot(self) -> bool:
        """See `FeedStore.step_snapshot`: a batch and its place are one transaction, so that a kill repeats nothing."""
        waiting = await self._snapshots.find_one(
            {"done_at": None}, {"_id": 1}, sort=[("created_at", ASCENDING)], max_time_ms=DEADLINE_MS
        )
        if waiting is None:
            return False
        async with self._turn, self._client.start_session() as session:
            await session.with_transaction(lambda s: self._step(waiting["_id"], s))
        self._tell()
        return True

    async def _step(self, job_id: str, session: AsyncClientSession) -> None:
        document = await self._snapshots.find_one({"_id": job_id, "done_at": None}, session=session)
        if document is None:
            return
        job = snapshot_of(document)
        kept = await self._organisations.find_one({"_id": job.organisation}, session=session)
        where: Document = {"_id": {"$gt": job.cursor}}
        if job.kind == "resident":
            studies = await self._latest.distinct("_id", {"resident": job.resident}, session=session)
            where["studies"] = {"$in": studies}
        found = await self._latest.find(where, session=session).sort("_id").limit(SNAPSHOT_BATCH).to_list()
        if kept is None or not found:
            # Of an organisation that is not there yet a link is kept; its own snapshot brings everything.
            await self._snapshots.update_one({"_id": job_id}, {"$set": {"done_at": self._clock()}}, session=session)
            return
        organisation = organisation_of(kept)
        put: list[Statement] = []
        for one in found:
            residents = await self._residents_of(one["studies"], session)
            linked = await self._linked(sorted(residents), session)
            statement = statement_of(one)
            if missed(organisation, job, statement.event, Facts(frozenset().union(*linked.values()))):
                put.append(statement)
        count = await self._put({organisation.id: put} if put else {}, session)
        change = {"$set": {"cursor": found[-1]["_id"]}, "$inc": {"put": count}}
        await self._snapshots.update_one({"_id": job_id}, change, session=session)

    async def snapshots(self, organisation: str) -> Sequence[Snapshot]:
        """See `FeedStore.snapshots`."""
        found = self._snapshots.find({"organisation": organisation}, max_time_ms=DEADLINE_MS)
        return [snapshot_of(document) async for document in found.sort("created_at", DESCENDING).limit(20)]

    async def _all(self, session: AsyncClientSession | None) -> list[Organisation]:
        found = self._organisations.find({}, session=session).sort("_id")
        return [organisation_of(document) async for document in found]

    async def _linked(self, residents: Sequence[str], session: AsyncClientSession | None) -> dict[str, frozenset[str]]:
        """Resident → the organisations whose EHR keeps their record."""
        linked = dict.fromkeys(residents, frozenset[str]())
        if residents:
            found = self._residents.find({"_id": {"$in": list(residents)}}, session=session)
            linked |= {one["_id"]: frozenset(one["organisations"]) async for one in found}
        return linked

    async def _residents_of(self, studies: Sequence[str], session: AsyncClientSession) -> set[str]:
        found = self._latest.find({"_id": {"$in": list(studies)}}, {"resident": 1}, session=session)
        return {one["resident"] async for one in found if one["resident"]}

    def _new(self, organisation: str) -> Document:
        return {"id": uuid4().hex, "organisation": organisation, "created_at": self._clock()}

    async def _begin(self, job: Snapshot, session: AsyncClientSession) -> None:
        await self._snapshots.insert_one(snapshot_document(job), session=session)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener.set()

    async def _transact(self, write: Callable[[AsyncClientSession], object]) -> None:
        async with self._client.start_session() as session:
            await session.with_transaction(write)  # type: ignore[arg-type]
        self._tell()
