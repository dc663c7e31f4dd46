"""The outbox: an event is written to MongoDB in the transaction of the state change, and relayed to Kafka afterwards.

A stream is (topic, key). Each event takes the next number of its stream inside the transaction, so two transactions on
one stream conflict and their order is the order of their commits; the relay publishes a stream strictly by number.
"""

import asyncio
from typing import Any
from uuid import uuid4

import structlog
from pymongo import ASCENDING, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from imaging_common.errors import ImagingError
from imaging_common.events import EVENT_TYPES, Event
from imaging_common.messaging.ports import EventPublisher
from imaging_common.telemetry.context import current_traceparent
from imaging_common.telemetry.metrics import OUTBOX_PENDING

_log = structlog.get_logger(__name__)
BATCH = 200
CONCURRENCY = 16
POLL_SECONDS = 1.0
LEASE_SECONDS = 5
BLOCKED_SECONDS = 5.0


class Outbox:
    """Where use cases leave their events. Collections: `<collection>` and `<collection>.streams`."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], collection: str = "events") -> None:
        self.events: AsyncCollection[dict[str, Any]] = database[collection]
        self.streams: AsyncCollection[dict[str, Any]] = database[f"{collection}.streams"]
        self.wake = asyncio.Event()

    async def add(self, topic: str, event: Event, key: str, *, session: AsyncClientSession | None) -> None:
        """Write the event in the caller's transaction; it is relayed after the commit (call `notify` then)."""
        stream = f"{topic}/{key}"
        counter = await self.streams.find_one_and_update(
            {"_id": stream}, {"$inc": {"n": 1}}, upsert=True, return_document=ReturnDocument.AFTER, session=session
        )
        assert counter is not None
        await self.events.insert_one(
            {
                "_id": uuid4().hex,
                "stream": stream,
                "n": counter["n"],
                "topic": topic,
                "key": key,
                "type": event.type_name(),
                "data": event.model_dump_json(),
                "traceparent": current_traceparent(),
            },
            session=session,
        )

    def notify(self) -> None:
        """Wake the relay of this process."""
        self.wake.set()

    async def pending(self) -> int:
        """Events that are not relayed yet."""
        return await self.events.estimated_document_count()


class OutboxRelay:
    """Publishes what the outbox holds: in order per stream, at least once; of all copies of a service one at a time.

    It can be killed at any point: an event is deleted only after Kafka acknowledged it, and what is published again
    carries the same CloudEvents id.
    """

    def __init__(self, outbox: Outbox, publisher: EventPublisher) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._owner = uuid4().hex
        self._task: asyncio.Task[None] | None = None
        self._blocked: dict[str, float] = {}
        self._lease_ends = 0.0

    async def start(self) -> None:
        """Begin to relay."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop, and let another copy take over at once."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        self._task = None
        try:
            async with asyncio.timeout(2):
                await self._outbox.streams.delete_one({"_id": "lease", "owner": self._owner})
        except (PyMongoError, TimeoutError) as error:
            _log.info("lease-not-returned", error=type(error).__name__)

    async def _run(self) -> None:
        indexed = False
        while True:
            try:
                if not indexed:
                    await self._outbox.events.create_index([("stream", ASCENDING), ("n", ASCENDING)], unique=True)
                    indexed = True
                if not (await self._take_lease() and await self.relay_once()):
                    await self._sleep()
            except PyMongoError as error:
                _log.warning("outbox-not-readable", error=type(error).__name__)
                await asyncio.sleep(POLL_SECONDS)

    async def relay_once(self) -> int:
        """Relay one batch; return how many events went out."""
        loop = asyncio.get_running_loop()
        self._blocked = {stream: until for stream, until in self._blocked.items() if until > loop.time()}
        free: dict[str, Any] = {"stream": {"$nin": list(self._blocked)}} if self._blocked else {}
        streams = {
            document["stream"]
            async for document in self._outbox.events.find(free, {"stream": 1}).sort("$natural", 1).limit(BATCH)
        }
        OUTBOX_PENDING.labels(collection=self._outbox.events.full_name).set(await self._outbox.pending())
        if not streams:
            return 0
        queues: dict[str, list[dict[str, Any]]] = {}
        cursor = self._outbox.events.find({"stream": {"$in": list(streams)}}).sort([("stream", 1), ("n", 1)])
        async for document in cursor.limit(4 * BATCH):
            queues.setdefault(document["stream"], []).append(document)
        gate = asyncio.Semaphore(CONCURRENCY)
        counts = await asyncio.gather(*(self._relay_stream(gate, queue) for queue in queues.values()))
        return sum(counts)

    async def _relay_stream(self, gate: asyncio.Semaphore, queue: list[dict[str, Any]]) -> int:
        done: list[str] = []
        async with gate:
            try:
                for document in queue:
                    if asyncio.get_running_loop().time() > self._lease_ends:
                        break
                    await self._publish(document)
                    done.append(document["_id"])
            except ImagingError as error:
                self._blocked[queue[0]["stream"]] = asyncio.get_running_loop().time() + BLOCKED_SECONDS
                _log.error("event-not-relayed", topic=queue[0]["topic"], error=type(error).__name__, text=str(error))
            if done:
                await self._outbox.events.delete_many({"_id": {"$in": done}})
        return len(done)

    async def _publish(self, document: dict[str, Any]) -> None:
        event = EVENT_TYPES[document["type"]].model_validate_json(document["data"])
        await self._publisher.publish(
            document["topic"],
            event,
            document["key"],
            traceparent=document["traceparent"],
            event_id=document["_id"],
        )

    async def _take_lease(self) -> bool:
        """Hold the lease for `LEASE_SECONDS` by the server's clock."""
        asked = asyncio.get_running_loop().time()
        lease = await self._outbox.streams.find_one_and_update(
            {"_id": "lease"},
            [
                {
                    "$set": {
                        "mine": {
                            "$or": [
                                {"$eq": ["$owner", self._owner]},
                                {"$lt": [{"$ifNull": ["$until", 0]}, {"$toLong": "$$NOW"}]},
                            ]
                        }
                    }
                },
                {
                    "$set": {
                        "owner": {"$cond": ["$mine", self._owner, "$owner"]},
                        "until": {"$cond": ["$mine", {"$add": [{"$toLong": "$$NOW"}, LEASE_SECONDS * 1000]}, "$until"]},
                    }
                },
            ],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        if lease is None or lease["owner"] != self._owner:
            return False
        self._lease_ends = asked + LEASE_SECONDS
        return True

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._outbox.wake.wait()
        except TimeoutError:
            return
        self._outbox.wake.clear()
