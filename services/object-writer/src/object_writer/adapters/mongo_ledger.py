"""`Ledger` on MongoDB: collections `instances`, `series`, `batches`, `packs`, `policies`, and the outbox `events`."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from pymongo import AsyncMongoClient, ReturnDocument, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from imaging_common.events import BatchStored, InstancesLocated, InstancesStored, ManifestEntry
from imaging_common.messaging.outbox import Outbox
from imaging_common.objects.model import Manifest
from imaging_common.telemetry import current_traceparent

Document = dict[str, Any]


class MongoLedger:
    """Every change and its event are one transaction."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, outbox: Outbox, lease_seconds: float) -> None:
        self._client = client
        self._db = client[database]
        self._outbox = outbox
        self._lease = timedelta(seconds=lease_seconds)
        self._me = uuid4().hex

    async def prepare(self) -> None:
        """Make the indexes."""
        await self._db["instances"].create_index([("series", 1), ("pack", 1)])
        await self._db["instances"].create_index([("batches", 1)])
        await self._db["series"].create_index([("waiting", 1), ("last_received_at", 1)])
        await self._db["batches"].create_index([("open", 1)])
        await self._db["packs"].create_index([("series", 1)])

    async def check(self) -> None:
        """Raise when MongoDB does not answer."""
        await self._client.admin.command("ping")

    async def note_batch(self, manifest: Manifest, manifest_key: str) -> None:
        """See `Ledger.note_batch`."""
        now = datetime.now(UTC)
        ids = [_instance_id(manifest, i.sop_instance_uid, i.sha256) for i in manifest.instances]
        sizes: dict[str, int] = {}
        for instance in manifest.instances:
            series = f"{manifest.hospital}/{manifest.study_uid}/{instance.series_uid}"
            sizes[series] = sizes.get(series, 0) + instance.length

        async def write(session: AsyncClientSession) -> None:
            if await self._db["batches"].find_one({"_id": manifest_key}, session=session):
                return
            known = {d["_id"]: d async for d in self._db["instances"].find({"_id": {"$in": ids}}, session=session)}
            await self._db["instances"].bulk_write(
                [
                    UpdateOne(
                        {"_id": _instance_id(manifest, i.sop_instance_uid, i.sha256)},
                        {
                            "$setOnInsert": {
                                "series": f"{manifest.hospital}/{manifest.study_uid}/{i.series_uid}",
                                "sop_instance_uid": i.sop_instance_uid,
                                "sha256": i.sha256,
                                "pack": None,
                                "located": False,
                            },
                            "$addToSet": {"batches": manifest_key},
                        },
                        upsert=True,
                    )
                    for i in manifest.instances
                ],
                session=session,
            )
            await self._db["series"].bulk_write(
                [
                    UpdateOne(
                        {"_id": series},
                        {
                            "$set": {"last_received_at": now, "traceparent": manifest.traceparent},
                            "$inc": {"waiting": size},
                        },
                        upsert=True,
                    )
                    for series, size in sizes.items()
                ],
                session=session,
            )
            batch = {"_id": manifest_key, "open": True, "has_edge": manifest.has_edge, "noted_at": now}
            await self._db["batches"].insert_one(batch, session=session)
            if again := [d for d in known.values() if d["located"]]:
                await self._receipt(manifest.hospital, manifest.study_uid, again, session)

        await self._transaction(write)

    async def known_batches(self, manifest_keys: list[str]) -> set[str]:
        """See `Ledger.known_batches`."""
        found = self._db["batches"].find({"_id": {"$in": manifest_keys}}, {"_id": 1})
        return {document["_id"] async for document in found}

    async def take_series(self, quiet_before: datetime, bytes_limit: int) -> str | None:
        """See `Ledger.take_series`."""
        now = datetime.now(UTC)
        taken = await self._db["series"].find_one_and_update(
            {
                "waiting": {"$gt": 0},
                "$and": [
                    {"$or": [{"last_received_at": {"$lt": quiet_before}}, {"waiting": {"$gte": bytes_limit}}]},
                    {"$or": [{"lease_until": None}, {"lease_until": {"$lt": now}}]},
                ],
            },
            {"$set": {"lease_until": now + self._lease, "lease_owner": self._me}},
            sort=[("last_received_at", 1)],
        )
        return str(taken["_id"]) if taken else None

    async def release_series(self, series_id: str) -> None:
        """See `Ledger.release_series`."""
        await self._db["series"].update_one(
            {"_id": series_id, "lease_owner": self._me}, {"$set": {"lease_until": None}}
        )

    async def batches_of(self, series_id: str) -> list[str]:
        """See `Ledger.batches_of`."""
        return list(await self._db["instances"].distinct("batches", {"series": series_id, "pack": None}))

    async def packs_of(self, series_id: str) -> list[str]:
        """See `Ledger.packs_of`."""
        found = self._db["packs"].find({"series": series_id, "replaced_by": None}, {"_id": 1})
        return [document["_id"] async for document in found]

    async def note_pack(self, manifest: Manifest, manifest_key: str, series_id: str) -> None:
        """See `Ledger.note_pack`."""
        ids = [_instance_id(manifest, i.sop_instance_uid, i.sha256) for i in manifest.instances]
        event = InstancesStored(
            hospital=manifest.hospital,
            study_uid=manifest.study_uid,
            series_uid=series_id.rsplit("/", 1)[1],
            pack_id=manifest.id,
            manifest_key=manifest_key,
            instance_count=len(manifest.instances),
        )

        async def write(session: AsyncClientSession) -> None:
            if await self._db["packs"].find_one({"_id": manifest_key}, session=session) is None:
                pack = {"_id": manifest_key, "series": series_id, "replaced_by": None, "located_at": None}
                await self._db["packs"].insert_one(pack, session=session)
            await self._db["instances"].update_many(
                {"_id": {"$in": ids}}, {"$set": {"pack": manifest_key}}, session=session
            )
            await self._db["packs"].update_many(
                {"_id": {"$in": manifest.replaces}}, {"$set": {"replaced_by": manifest_key}}, session=session
            )
            left = await self._db["instances"].count_documents({"series": series_id, "pack": None}, session=session)
            await self._db["series"].update_one({"_id": series_id}, {"$set": {"waiting": left}}, session=session)
            await self._outbox.add("instances-stored", event, manifest.study_uid, session=session)

        await self._transaction(write)

    async def note_located(self, event: InstancesLocated) -> None:
        """See `Ledger.note_located`."""
        ids = [f"{event.hospital}/{event.study_uid}/{e.sop_instance_uid}/{e.sha256}" for e in event.instances]
        now = datetime.now(UTC)

        async def write(session: AsyncClientSession) -> None:
            fresh = await self._db["instances"].find({"_id": {"$in": ids}, "located": False}, session=session).to_list()
            await self._db["instances"].update_many(
                {"_id": {"$in": ids}, "located": False}, {"$set": {"located": True, "located_at": now}}, session=session
            )
            await self._db["packs"].update_one(
                {"_id": event.manifest_key, "located_at": None}, {"$set": {"located_at": now}}, session=session
            )
            if fresh:
                await self._receipt(event.hospital, event.study_uid, fresh, session)

        await self._transaction(write)

    async def removable_batches(self, located_before: datetime) -> list[str]:
        """See `Ledger.removable_batches`."""
        open_batches = [d["_id"] async for d in self._db["batches"].find({"open": True}, {"_id": 1})]
        late = {"$or": [{"located": False}, {"located_at": {"$gte": located_before}}]}
        held = set(await self._db["instances"].distinct("batches", {"batches": {"$in": open_batches}, **late}))
        return [key for key in open_batches if key not in held]

    async def removable_packs(self, located_before: datetime) -> list[str]:
        """See `Ledger.removable_packs`."""
        replaced = await self._db["packs"].find({"replaced_by": {"$ne": None}, "gone": {"$ne": True}}).to_list()
        successors = {d["replaced_by"] for d in replaced}
        found = self._db["packs"].find({"_id": {"$in": list(successors)}, "located_at": {"$lt": located_before}})
        located = {d["_id"] async for d in found}
        return [d["_id"] for d in replaced if d["replaced_by"] in located]

    async def forget(self, manifest_key: str) -> None:
        """See `Ledger.forget`."""
        await self._db["batches"].update_one({"_id": manifest_key}, {"$set": {"open": False}})
        await self._db["packs"].update_one({"_id": manifest_key}, {"$set": {"gone": True}})

    async def set_compression(self, hospital: str, compression: str, revision: int) -> None:
        """See `Ledger.set_compression`."""
        policy = await self._db["policies"].find_one({"_id": hospital})
        if policy is None or policy["revision"] < revision:
            await self._db["policies"].find_one_and_update(
                {"_id": hospital},
                {"$set": {"compression": compression, "revision": revision}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )

    async def compression(self, hospital: str) -> str:
        """See `Ledger.compression`."""
        policy = await self._db["policies"].find_one({"_id": hospital})
        return str(policy["compression"]) if policy else "htj2k"

    async def trace_of(self, series_id: str) -> str | None:
        """The trace of the series' last batch, which its pack continues."""
        series = await self._db["series"].find_one({"_id": series_id})
        return (series or {}).get("traceparent") or current_traceparent()

    async def _receipt(
        self, hospital: str, study_uid: str, instances: list[Document], session: AsyncClientSession
    ) -> None:
        entries = [ManifestEntry(sop_instance_uid=i["sop_instance_uid"], sha256=i["sha256"]) for i in instances]
        event = BatchStored(hospital=hospital, study_uid=study_uid, instances=entries)
        await self._outbox.add(f"edge-commands-{hospital}", event, study_uid, session=session)

    async def _transaction(self, write: Any) -> None:
        async with self._client.start_session() as session:
            await session.with_transaction(write)
        self._outbox.notify()


def _instance_id(manifest: Manifest, sop_instance_uid: str, sha256: str) -> str:
    return f"{manifest.hospital}/{manifest.study_uid}/{sop_instance_uid}/{sha256}"
