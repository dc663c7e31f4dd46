"""The ledger's changes, each within one transaction with its events in the outbox."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from imaging_common.events import BatchStored, Event, InstancesLocated, InstancesStored, ManifestEntry
from imaging_common.messaging.outbox import Outbox
from imaging_common.objects.model import Manifest, StoredInstance
from object_writer.errors import LeaseLost
from object_writer.model import Name, series_id

Document = dict[str, Any]
STORED_TOPIC = "instances-stored"
MAX_RECEIPT = 1000


class LedgerWrites:
    """One transaction."""

    def __init__(self, database: Any, outbox: Outbox, session: AsyncClientSession) -> None:
        self._db = database
        self._outbox = outbox
        self._session = session
        self._now = datetime.now(UTC)

    async def note_batch(self, manifest: Manifest, key: str) -> None:
        """See `Ledger.note_batch`."""
        ids = [instance_id(manifest, instance) for instance in manifest.instances]
        known = {d["_id"]: d for d in await self._find("instances", {"_id": {"$in": ids}})}
        located = [d for d in known.values() if d["located_in"]]
        if manifest.has_edge:
            await self._receipt(manifest.hospital, manifest.study_uid, located)
        batch = await self._one("batches", {"_id": key})
        if batch is not None and batch["open"]:
            return
        await self._bulk("instances", [self._arrival(manifest, instance, key) for instance in manifest.instances])
        sizes: Counter[str] = Counter()
        for instance in manifest.instances:
            before = known.get(instance_id(manifest, instance))
            if before is None or (before["pack"] is None and before["lost"]):
                sizes[series_id(manifest.hospital, manifest.study_uid, instance.series_uid)] += instance.length
        await self._bulk(
            "series",
            [
                UpdateOne(
                    {"_id": series},
                    {
                        "$set": {"last_received_at": self._now, "traceparent": manifest.traceparent},
                        "$inc": {"waiting": size},
                    },
                    upsert=True,
                )
                for series, size in sizes.items()
            ],
        )
        left = len(set(ids)) - len(located)
        state = {
            "open": True,
            "left": left,
            "settled_at": None if left else self._now,
            "has_edge": manifest.has_edge,
            "noted_at": self._now,
            "purged_at": None,
            "stored_bytes": sum(instance.length for instance in manifest.instances),
        }
        await self._set("batches", key, state)

    def _arrival(self, manifest: Manifest, instance: StoredInstance, key: str) -> UpdateOne:
        once = {**_identity(manifest, instance), "pack": None, "located_in": None, "located_at": None}
        change: Document = {"$setOnInsert": once, "$addToSet": {"batches": key}, "$set": {"lost": False}}
        change["$set"]["received_at"] = self._now
        if manifest.has_edge:
            change["$set"]["has_edge"] = True
        return UpdateOne({"_id": instance_id(manifest, instance)}, change, upsert=True)

    async def note_pack(self, manifest: Manifest, key: str, *, owner: str | None) -> None:
        """See `Ledger.note_pack`; without an owner the pack is adopted: what lies in another one stays there."""
        series = series_id(manifest.hospital, manifest.study_uid, manifest.instances[0].series_uid)
        if owner and await self._one("series", {"_id": series, "lease_owner": owner}) is None:
            raise LeaseLost("another copy works on the series")
        pack = {
            "series": series,
            "bytes": sum(instance.original_length for instance in manifest.instances),
            "stored_bytes": sum(instance.length for instance in manifest.instances),
            "count": len(manifest.instances),
            "pack_id": manifest.id,
            "noted_at": self._now,
            "replaced_by": None,
            "located": False,
            "located_at": None,
            "gone": False,
            "purged_at": None,
        }
        known = await self._one("packs", {"_id": key})
        again = known is not None and (known["gone"] or known.get("purged_at") is not None)
        await self._bulk("packs", [UpdateOne({"_id": key}, {"$set" if again else "$setOnInsert": pack}, upsert=True)])
        ids = [instance_id(manifest, instance) for instance in manifest.instances]
        await self._bulk("instances", [_member(manifest, instance) for instance in manifest.instances])
        free: Document = {} if owner else {"pack": None}
        await self._db["instances"].update_many(
            {"_id": {"$in": ids}, **free}, {"$set": {"pack": key, "lost": False}}, session=self._session
        )
        replaced = {"_id": {"$in": manifest.replaces}, "replaced_by": None}
        change = {"$set": {"replaced_by": key, "replaced_at": self._now}}
        await self._db["packs"].update_many(replaced, change, session=self._session)
        await self._count_waiting(series)
        await self._stored(series, manifest.id, key, len(manifest.instances))

    async def note_damaged(self, series: str, name: Name, key: str) -> bool:
        """See `Ledger.note_damaged`."""
        hospital, study_uid, _ = series.split("/")
        where = {"_id": f"{hospital}/{study_uid}/{name[0]}/{name[1]}"}
        instance = await self._one("instances", where)
        if instance is None:
            return True
        batches = [batch for batch in instance["batches"] if batch != key]
        pack = None if instance["pack"] == key else instance["pack"]
        lost = pack is None and not batches
        change = {"batches": batches, "pack": pack, "lost": lost}
        await self._db["instances"].update_one(where, {"$set": change}, session=self._session)
        await self._count_waiting(series)
        return lost

    async def note_pack_lost(self, key: str) -> None:
        """See `Ledger.note_pack_lost`."""
        pack = await self._one("packs", {"_id": key})
        if pack is None or pack["gone"]:
            return
        members = await self._find("instances", {"pack": key})
        for instance in members:
            change = {"pack": None, "located_in": None, "located_at": None, "lost": not instance["batches"]}
            await self._set("instances", instance["_id"], change, upsert=False)
        for batch in {batch for instance in members for batch in instance["batches"]}:
            left = await self._db["instances"].count_documents(
                {"batches": batch, "located_in": None}, session=self._session
            )
            await self._set("batches", batch, {"left": left, "settled_at": None}, upsert=False)
        await self._set("packs", key, {"gone": True}, upsert=False)
        await self._count_waiting(pack["series"])

    async def note_located(self, event: InstancesLocated) -> None:
        """See `Ledger.note_located`."""
        ids = [f"{event.hospital}/{event.study_uid}/{e.sop_instance_uid}/{e.sha256}" for e in event.instances]
        known = await self._find("instances", {"_id": {"$in": ids}})
        fresh = [document for document in known if not document["located_in"]]
        await self._db["instances"].update_many(
            {"_id": {"$in": ids}},
            {"$set": {"located_in": event.manifest_key, "located_at": self._now}},
            session=self._session,
        )
        await self._settle_batches(fresh)
        await self._set("cache_studies", f"{event.hospital}/{event.study_uid}", {"archived": True}, upsert=False)
        unread = {"pack": event.manifest_key, "located_in": {"$ne": event.manifest_key}}
        if await self._one("instances", unread) is None:
            await self._set("packs", event.manifest_key, {"located": True, "located_at": self._now}, upsert=False)
        await self._receipt(event.hospital, event.study_uid, [d for d in fresh if d.get("has_edge")])

    async def _settle_batches(self, located: list[Document]) -> None:
        counts = Counter(batch for document in located for batch in document["batches"])
        await self._bulk("batches", [UpdateOne({"_id": b}, {"$inc": {"left": -n}}) for b, n in counts.items()])
        done = {"_id": {"$in": list(counts)}, "left": {"$lte": 0}, "settled_at": None}
        await self._db["batches"].update_many(done, {"$set": {"settled_at": self._now}}, session=self._session)

    async def announce_again(self, pack: Document) -> None:
        """InstancesStored once more."""
        await self._set("packs", pack["_id"], {"noted_at": self._now}, upsert=False)
        await self._stored(pack["series"], pack["pack_id"], pack["_id"], pack["count"])

    async def _count_waiting(self, series: str) -> None:
        """Bytes that are in no pack; a lost instance waits for nothing but to be sent again."""
        pipeline = [
            {"$match": {"series": series, "pack": None, "lost": {"$ne": True}}},
            {"$group": {"_id": None, "bytes": {"$sum": "$bytes"}}},
        ]
        cursor = await self._db["instances"].aggregate(pipeline, session=self._session)
        found = await cursor.to_list()
        await self._db["series"].update_one(
            {"_id": series}, {"$set": {"waiting": found[0]["bytes"] if found else 0}}, session=self._session
        )

    async def _stored(self, series: str, pack_id: str, key: str, count: int) -> None:
        hospital, study_uid, series_uid = series.split("/")
        event = InstancesStored(
            hospital=hospital,
            study_uid=study_uid,
            series_uid=series_uid,
            pack_id=pack_id,
            manifest_key=key,
            instance_count=count,
        )
        await self._emit(STORED_TOPIC, event, study_uid)

    async def _receipt(self, hospital: str, study_uid: str, instances: list[Document]) -> None:
        for start in range(0, len(instances), MAX_RECEIPT):
            page = instances[start : start + MAX_RECEIPT]
            entries = [ManifestEntry(sop_instance_uid=d["sop_instance_uid"], sha256=d["sha256"]) for d in page]
            event = BatchStored(hospital=hospital, study_uid=study_uid, instances=entries)
            await self._emit(f"edge-commands-{hospital}", event, study_uid)

    async def _emit(self, topic: str, event: Event, key: str) -> None:
        await self._outbox.add(topic, event, key, session=self._session)

    async def _find(self, collection: str, where: Document) -> list[Document]:
        return list(await self._db[collection].find(where, session=self._session).to_list())

    async def _one(self, collection: str, where: Document) -> Document | None:
        found: Document | None = await self._db[collection].find_one(where, session=self._session)
        return found

    async def _set(self, collection: str, key: str, fields: Document, *, upsert: bool = True) -> None:
        await self._db[collection].update_one({"_id": key}, {"$set": fields}, upsert=upsert, session=self._session)

    async def _bulk(self, collection: str, operations: Iterable[UpdateOne]) -> None:
        if todo := list(operations):
            await self._db[collection].bulk_write(todo, ordered=False, session=self._session)


def instance_id(manifest: Manifest, instance: StoredInstance) -> str:
    """`<hospital>/<study>/<sop instance>/<sha256>`."""
    return f"{manifest.hospital}/{manifest.study_uid}/{instance.sop_instance_uid}/{instance.sha256}"


def _identity(manifest: Manifest, instance: StoredInstance) -> Document:
    return {
        "series": series_id(manifest.hospital, manifest.study_uid, instance.series_uid),
        "sop_instance_uid": instance.sop_instance_uid,
        "sha256": instance.sha256,
        "bytes": instance.original_length,
    }


def _member(manifest: Manifest, instance: StoredInstance) -> UpdateOne:
    """An instance of a pack that no batch told of: the ledger is new, the archive is not."""
    once = {
        **_identity(manifest, instance),
        "pack": None,
        "located_in": None,
        "located_at": None,
        "batches": [],
        "lost": False,
    }
    return UpdateOne({"_id": instance_id(manifest, instance)}, {"$setOnInsert": once}, upsert=True)
