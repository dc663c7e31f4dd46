"""The outbox: an event is written to MongoDB in the transaction of the state change, and relayed to Kafka afterwards.

A stream is (topic, key). Each event takes the next number of its stream inside the transaction, so two transactions on
one stream conflict and their order is the order of their commits; the relay publishes a stream strictly by number.

An event that follows no change of state (somebody looked at something) is one insert: its stream is this process's
own, numbered here, and the relay may have several of it under way.
"""

import asyncio
from collections.abc import Sequence
from itertools import count
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
from imaging_common.messaging.outbox_lease import RelayLease
from imaging_common.messaging.ports import EventPublisher
from imaging_common.mongo import ensure_index
from imaging_common.telemetry.context import current_traceparent
from imaging_common.telemetry.metrics import OUTBOX_PENDING

_log = structlog.get_logger(__name__)
BATCH = 200
READ_ONCE = 64
"""An outbox with at most so many events is read whole by one query."""
CONCURRENCY = 16
POLL_SECONDS = 1.0
LINGER_SECONDS = 0.2
"""Looks are relayed together: so long after the first of them."""
BLOCKED_SECONDS = 5.0


class Outbox:
    """Where use cases leave their events. Collections: `<collection>` and `<collection>.streams`."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], collection: str = "events") -> None:
        self.events: AsyncCollection[dict[str, Any]] = database[collection]
        self.streams: AsyncCollection[dict[str, Any]] = database[f"{collection}.streams"]
        self.wake = asyncio.Event()
        self._process = uuid4().hex
        self._numbers = count(1)
        self._lingering = False

    async def add(self, topic: str, event: Event, key: str, *, session: AsyncClientSession | None) -> None:
        """Write the event in the caller's transaction; it is relayed after the commit (call `notify` then)."""
        stream = f"{topic}/{key}"
        counter = await self.streams.find_one_and_update(
            {"_id": stream}, {"$inc": {"n": 1}}, upsert=True, return_document=ReturnDocument.AFTER, session=session
        )
        assert counter is not None
        await self.events.insert_one(_document(stream, counter["n"], topic, event, key), session=session)

    async def add_look(self, topic: str, event: Event, key: str) -> None:
        """Write an event that follows no change of state: durable on return, relayed within `LINGER_SECONDS`."""
        stream = f"{topic}/{key}/{self._process}"
        await self.events.insert_one({**_document(stream, next(self._numbers), topic, event, key), "look": True})
        if not self._lingering:
            self._lingering = True
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._lingered)

    def notify(self) -> None:
        """Wake the relay of this process."""
        self.wake.set()

    async def pending(self) -> int:
        """Events that are not relayed yet."""
        return await self.events.estimated_document_count()

    def _lingered(self) -> None:
        self._lingering = False
        self.notify()


def _document(stream: str, number: int, topic: str, event: Event, key: str) -> dict[str, Any]:
    return {
        "_id": uuid4().hex,
        "stream": stream,
        "n": number,
        "topic": topic,
        "key": key,
        "type": event.type_name(),
        "data": event.model_dump_json(),
        "traceparent": current_traceparent(),
    }


class OutboxRelay:
    """Publishes what the outbox holds: in order per stream, at least once; of all copies of a service one at a time.

    It can be killed at any point: an event is deleted only after Kafka acknowledged it, and what is published again
    carries the same CloudEvents id.
    """

    def __init__(self, outbox: Outbox, publisher: EventPublisher) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._lease = RelayLease(outbox.streams)
        self._task: asyncio.Task[None] | None = None
        self._blocked: dict[str, float] = {}

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
        await self._lease.give_back()

    async def _run(self) -> None:
        indexed = False
        while True:
            try:
                if not indexed:
                    await ensure_index(self._outbox.events, [("stream", ASCENDING), ("n", ASCENDING)], unique=True)
                    indexed = True
                if not await self._lease.take():
                    OUTBOX_PENDING.remove(self._outbox.events.full_name)  # another copy's to show
                    await self._sleep()
                elif not await self.relay_once():
                    await self._sleep()
            except PyMongoError as error:
                _log.warning("outbox-not-readable", error=type(error).__name__)
                await asyncio.sleep(POLL_SECONDS)

    async def relay_once(self) -> int:
        """Relay one batch; return how many events went out."""
        loop = asyncio.get_running_loop()
        self._blocked = {stream: until for stream, until in self._blocked.items() if until > loop.time()}
        queues: dict[str, list[dict[str, Any]]] = {}
        for document in await self._oldest():
            queues.setdefault(document["stream"], []).append(document)
        if not queues:
            return 0
        gate = asyncio.Semaphore(CONCURRENCY)
        counts = await asyncio.gather(*(self._relay_stream(gate, queue) for queue in queues.values()))
        return sum(counts)

    async def _oldest(self) -> list[dict[str, Any]]:
        """Some streams that are not blocked, each from its first event on."""
        events, name = self._outbox.events, self._outbox.events.full_name
        free: dict[str, Any] = {"stream": {"$nin": list(self._blocked)}} if self._blocked else {}
        found = await events.find(free).sort("$natural", 1).limit(READ_ONCE + 1).to_list()
        if len(found) <= READ_ONCE:
            OUTBOX_PENDING.labels(collection=name).set(await self._outbox.pending() if self._blocked else len(found))
            return sorted(found, key=lambda document: document["n"])
        OUTBOX_PENDING.labels(collection=name).set(await self._outbox.pending())
        found = await events.find(free, {"stream": 1}).sort("$natural", 1).limit(BATCH).to_list()
        streams = list({document["stream"] for document in found})
        return (
            await events.find({"stream": {"$in": streams}}).sort([("stream", 1), ("n", 1)]).limit(4 * BATCH).to_list()
        )

    async def _relay_stream(self, gate: asyncio.Semaphore, queue: Sequence[dict[str, Any]]) -> int:
        at_once = CONCURRENCY if queue[0].get("look") else 1
        done: list[str] = []
        async with gate:
            for first in range(0, len(queue), at_once):
                if not self._lease.held:
                    break
                some = queue[first : first + at_once]
                results = await asyncio.gather(*map(self._publish, some), return_exceptions=True)
                done += [document["_id"] for document, failed in zip(some, results, strict=True) if failed is None]
                failures = [failed for failed in results if failed is not None]
                for failed in failures:
                    if not isinstance(failed, ImagingError):
                        raise failed
                if failures:
                    self._block(queue[0], failures[0])
                    break
            if done:
                await self._outbox.events.delete_many({"_id": {"$in": done}})
        return len(done)

    def _block(self, document: dict[str, Any], error: BaseException) -> None:
        """Leave a stream alone for a while."""
        self._blocked[document["stream"]] = asyncio.get_running_loop().time() + BLOCKED_SECONDS
        _log.error("event-not-relayed", topic=document["topic"], error=type(error).__name__, text=str(error))

    async def _publish(self, document: dict[str, Any]) -> None:
        event = EVENT_TYPES[document["type"]].model_validate_json(document["data"])
        await self._publisher.publish(
            document["topic"],
            event,
            document["key"],
            traceparent=document["traceparent"],
            event_id=document["_id"],
        )

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._outbox.wake.wait()
        except TimeoutError:
            return
        self._outbox.wake.clear()
