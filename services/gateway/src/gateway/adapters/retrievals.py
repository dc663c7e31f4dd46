"""Retrievals and edge agents' heartbeats in MongoDB (`gateway.retrievals`, `gateway.edges`)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from gateway.retrievals.model import LIVE, Retrieval, Want, asked
from gateway.retrievals.ports import with_failure, with_progress
from imaging_common.events import EdgeHeartbeat, RetrieveFailed, RetrieveProgressed
from imaging_common.mongo import ensure_index

KEEP_SECONDS = 7 * 24 * 3600
DEADLINE_MS = 5_000
WANTED = {"series", "first", "priority", "revision", "published_at", "answered"}
"""The fields that a further want changes."""
DEAD_LEASE = timedelta(minutes=5)


class MongoRetrievals:
    """`RetrievalStore` on MongoDB: `_id` is `<holder>/<study>`; id and revision guard every change of what is wanted.

    Leases are fields of their own, so that renewing one never stands against anything else.
    """

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._retrievals = database["retrievals"]

    async def prepare(self) -> None:
        """Create the indexes."""
        await ensure_index(self._retrievals, "state", partialFilterExpression={"state": {"$in": sorted(LIVE)}})
        await ensure_index(self._retrievals, "changed_at", expireAfterSeconds=KEEP_SECONDS)

    async def ask(
        self, want: Want, now: datetime, *, lasts: timedelta, lease: str, until: datetime
    ) -> tuple[Retrieval, bool]:
        """See `RetrievalStore.ask`."""
        while True:
            document = await self._retrievals.find_one({"_id": want.key}, max_time_ms=DEADLINE_MS)
            known = _read(document)
            made = asked(known, want, now, new_id=uuid4().hex, lasts=lasts)
            if made is None:
                assert known is not None
                await self.lease(want.key, lease, until)
                return known, False
            kept = {name: at for name, at in (known.leases if known else {}).items() if at > now - DEAD_LEASE}
            made = made.model_copy(update={"leases": {**kept, lease: until}})
            try:
                if known is None:
                    await self._retrievals.insert_one({"_id": want.key, **made.model_dump()})
                    return made, True
            except DuplicateKeyError:
                continue
            where = {"_id": want.key, "retrieval_id": known.retrieval_id, "revision": known.revision}
            if known.live(now):
                changes = made.model_dump(
                    include={"series", "first", "priority", "revision", "published_at", "answered"}
                )
                update = {"$set": {**changes, f"leases.{lease}": until}}
                if (await self._retrievals.update_one(where, update)).matched_count:
                    return made, True
            elif (await self._retrievals.replace_one(where, made.model_dump())).matched_count:
                return made, True

    async def lease(self, key: str, lease: str, until: datetime) -> None:
        """See `RetrievalStore.lease`."""
        await self._retrievals.update_one({"_id": key}, {"$set": {f"leases.{lease}": until}})

    async def find(self, keys: Sequence[str]) -> dict[str, Retrieval]:
        """See `RetrievalStore.find`."""
        found = await self._retrievals.find({"_id": {"$in": list(keys)}}, max_time_ms=DEADLINE_MS).to_list()
        return {document["_id"]: Retrieval.model_validate(document) for document in found}

    async def live(self) -> list[Retrieval]:
        """See `RetrievalStore.live`."""
        found = await self._retrievals.find({"state": {"$in": sorted(LIVE)}}, max_time_ms=DEADLINE_MS).to_list()
        return [Retrieval.model_validate(document) for document in found]

    async def republish(self, retrieval: Retrieval, now: datetime) -> Retrieval | None:
        """See `RetrievalStore.republish`."""
        where = {**_same(retrieval), "published_at": retrieval.published_at}
        change = {"published_at": now, "revision": retrieval.revision + retrieval.answered}
        if not (await self._retrievals.update_one(where, {"$set": change})).matched_count:
            return None
        return retrieval.model_copy(update=change)

    async def cancel(self, retrieval: Retrieval, now: datetime) -> bool:
        """See `RetrievalStore.cancel`."""
        where = {**_same(retrieval), "state": {"$in": sorted(LIVE)}, "leases": retrieval.model_dump()["leases"]}
        update = {"$set": {"state": "cancelled", "changed_at": now}}
        return bool((await self._retrievals.update_one(where, update)).matched_count)

    async def progressed(self, holder: str, event: RetrieveProgressed, now: datetime) -> None:
        """See `RetrievalStore.progressed`."""
        if known := await self._of(holder, event):
            made = with_progress(known, event, now)
            names = {"state", "total", "done", "bytes_done", "missing", "answered", "started_done", "changed_at"}
            await self._keep(made, names)

    async def failed(self, holder: str, event: RetrieveFailed, now: datetime) -> None:
        """See `RetrievalStore.failed`."""
        if known := await self._of(holder, event):
            await self._keep(with_failure(known, event, now), {"state", "reason", "done", "answered", "changed_at"})

    async def _of(self, holder: str, event: RetrieveProgressed | RetrieveFailed) -> Retrieval | None:
        where = {"_id": f"{holder}/{event.study_uid}", "retrieval_id": event.retrieval_id}
        return _read(await self._retrievals.find_one(where, max_time_ms=DEADLINE_MS))

    async def _keep(self, made: Retrieval, names: set[str]) -> None:
        where = {
            "_id": made.key, "retrieval_id": made.retrieval_id, "state": {"$in": sorted(LIVE)},
            "done": {"$lte": made.done},
        }  # fmt: skip
        await self._retrievals.update_one(where, {"$set": made.model_dump(include=names)})


class MongoEdges:
    """`EdgeStore` on MongoDB: one document a hospital."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._edges = database["edges"]

    async def heard(self, hospital: str, heartbeat: EdgeHeartbeat, at: datetime) -> None:
        """See `EdgeStore.heard`."""
        update = {"$set": {"heartbeat": heartbeat.model_dump(), "heard_at": at}}
        await self._edges.find_one_and_update(
            {"_id": hospital}, update, upsert=True, return_document=ReturnDocument.AFTER
        )

    async def all(self) -> dict[str, tuple[EdgeHeartbeat, datetime]]:
        """See `EdgeStore.all`."""
        found = await self._edges.find({}, max_time_ms=DEADLINE_MS).to_list()
        return {d["_id"]: (EdgeHeartbeat.model_validate(d["heartbeat"]), d["heard_at"]) for d in found}


def _read(document: dict[str, Any] | None) -> Retrieval | None:
    return None if document is None else Retrieval.model_validate(document)


def _same(retrieval: Retrieval) -> dict[str, Any]:
    return {"_id": retrieval.key, "retrieval_id": retrieval.retrieval_id, "revision": retrieval.revision}
