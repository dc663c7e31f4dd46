"""The index against itself, against what hospitals announced, and against what others were told of it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from imaging_common.events import ManifestEntry, Version
from imaging_operate.reconcile.model import Finding, study_of
from imaging_operate.servers import Mongo
from imaging_operate.streams import pages, side_by_side

FRESH = timedelta(minutes=10)
"""What was announced within this time may be on its way."""
PAGE = 1000
REVISIONS = {"deletion_revision": "deleted_revision", "hold_revision": "held_revision"}
"""The store keeper's counts of orders about a study, and the index's."""
Row = dict[str, Any]


def rows_missing(client: Mongo) -> Iterator[Finding]:
    """Studies whose documents of instances or series are not as many as the study says, or that have no document."""
    fields = {"instance_count": 1, "series_count": 1}
    studies = client["index"]["studies"].find({}, fields).sort("_id", 1)
    rows = side_by_side(_counted(client, "instances"), _counted(client, "series"), _id, _id)
    for study, pair in side_by_side(studies, rows, _id, lambda one: _id(one[0] or one[1] or {})):
        instances, series = (each["count"] if each else 0 for each in pair or (None, None))
        if study is None and pair is not None:
            key = _id(pair[0] or pair[1] or {})
            yield Finding("study-missing", *study_of(key), what=f"{instances} instances without a study")
        elif study is not None and (instances, series) != (study["instance_count"], study["series_count"]):
            said = f"{instances} of {study['instance_count']} instances, {series} of {study['series_count']} series"
            yield Finding("rows-missing", *study_of(study["_id"]), what=said)


def _counted(client: Mongo, collection: str) -> Iterator[Row]:
    group = {"$group": {"_id": "$study_key", "count": {"$sum": 1}}}
    return client["index"][collection].aggregate([group, {"$sort": {"_id": 1}}], allowDiskUse=True)


def announced_not_here(client: Mongo, fresh: timedelta = FRESH) -> Iterator[Finding]:
    """Instances that a hospital without a PACS announced and that never arrived."""
    index = client["index"]
    where = {
        "announced": True,
        "settled": False,
        "deleted": {"$ne": True},
        "announced_at": {"$lt": datetime.now(UTC) - fresh},
    }
    for study in index["studies"].find(where, {"_id": 1, "rejected": 1}):
        said = index["announcements"].find_one({"_id": study["_id"]})
        if said is None or said.get("listed") is not None:
            continue
        arrived = {
            digest
            for one in index["instances"].find({"study_key": study["_id"]}, {"digests": 1})
            for digest in one["digests"]
        }
        refused = {one.get("sha256") for one in study.get("rejected", ())}
        wanted = tuple(
            ManifestEntry(sop_instance_uid=uid, sha256=digest)
            for uid, digest in said["entries"]
            if digest not in arrived | refused
        )
        if wanted:
            yield Finding("announced-not-here", *study_of(study["_id"]), f"{len(wanted)} instances", wanted)


def announcements_missing(client: Mongo) -> Iterator[Finding]:
    """Hospitals whose PACS has more studies than the index lists: their edge agents know how many."""
    for edge in client["gateway"]["edges"].find():
        pacs = (edge.get("heartbeat") or {}).get("pacs")
        if not pacs:
            continue
        announced = max(0, pacs["studies"] - pacs["waiting"])
        where = {"holder": edge["_id"], "withdrawn": {"$ne": True}, "announced": True}
        listed = client["index"]["studies"].count_documents(where)
        if announced > listed:
            yield Finding("announcements-missing", edge["_id"], what=f"{announced} announced, {listed} listed")


def told_otherwise(client: Mongo) -> Iterator[Finding]:
    """Studies of which the notification service knows an older version, or a newer one than the index has.

    What waits in the index's outbox is on its way.
    """
    waiting = {one["key"] for one in client["index"]["events"].find({"topic": "study-changed"}, {"key": 1})}
    fields = {"version": 1, "study_uid": 1, "holder": 1}
    for page in pages(client["index"]["studies"].find({}, fields), PAGE):
        names = {_statement(one["holder"], one["study_uid"]): one for one in page if one["study_uid"] not in waiting}
        told = _told(client, list(names))
        for name, study in names.items():
            said, known = Version.model_validate(study["version"]), told.get(name)
            where = (study["holder"], study["study_uid"])
            if said.newer_than(known):
                yield Finding("not-told", *where, what=f"version {said.epoch}.{said.n}", told=said)
            elif known is not None and known.newer_than(said):
                yield Finding("told-newer", *where, what=f"{known.epoch}.{known.n} was told", told=known)


def deletions_not_followed(client: Mongo) -> Iterator[Finding]:
    """Deletions and holds that the store keeper knows and the index does not follow."""
    for one in every_order(client):
        study = client["index"]["studies"].find_one({"_id": f"{one.holder}/{one.study_uid}"})
        if study is not None and any(
            one.detail.get(said, 0) > study.get(followed, 0) for said, followed in REVISIONS.items()
        ):
            yield one


def every_order(client: Mongo) -> Iterator[Finding]:
    """What operators ordered about studies, as the store keeper knows it."""
    for order in client["objects"]["study_commands"].find():
        said = " and ".join(name.removesuffix("_revision") for name in REVISIONS if order.get(name))
        yield Finding("deletion-not-followed", *study_of(order["_id"]), what=said, detail=dict(order))


def newest_told(client: Mongo, holder: str, study_uid: str) -> Version | None:
    """The newest version of a study that the notification service knows."""
    name = _statement(holder, study_uid)
    return _told(client, [name]).get(name)


def _statement(holder: str, study_uid: str) -> str:
    return f"study/{study_uid}/{holder}"


def _told(client: Mongo, names: list[str]) -> dict[str, Version]:
    found = client["notification"]["latest"].find({"_id": {"$in": names}}, {"order": 1})
    return {one["_id"]: Version(epoch=one["order"][1], n=one["order"][2]) for one in found}


def _id(row: Row) -> str:
    return str(row["_id"])
