"""Index and ledger against the object store."""

from collections.abc import Iterator
from typing import Any

from minio import Minio

from imaging_common.events import ManifestEntry
from imaging_common.objects.reports import is_report
from imaging_operate.reconcile.model import Finding, study_of
from imaging_operate.servers import Mongo
from imaging_operate.streams import pages, side_by_side

PAGE = 1000
BUCKETS = ("archive", "staging", "cache")
ENDINGS = (".batch", ".pack")
Row = dict[str, Any]


def keys(store: Minio, bucket: str) -> Iterator[str]:
    """The keys of a bucket in ascending order."""
    for item in store.list_objects(bucket_name=bucket, recursive=True):
        yield str(item.object_name)


def not_indexed(client: Mongo, store: Minio) -> Iterator[Finding]:
    """Manifests whose data lies in the store and that the index does not know, or whose study it does not have."""
    index = client["index"]
    for bucket in BUCKETS:
        for page in pages((k for k in keys(store, bucket) if k.endswith(".json") and not is_report(k)), PAGE):
            names = [f"{bucket}/{key}" for key in page]
            known = {one["_id"]: one for one in index["manifests"].find({"_id": {"$in": names}})}
            owners = sorted({"/".join(study_of(key)) for key in page})
            studies = {one["_id"] for one in index["studies"].find({"_id": {"$in": owners}}, {"_id": 1})}
            missing = set[str]()
            for key, name in zip(page, names, strict=True):
                mark, owner = known.get(name), "/".join(study_of(key))
                if mark is None:
                    yield Finding("not-indexed", *study_of(key), what=name)
                elif not mark.get("replaced") and owner not in studies and owner not in missing:
                    missing.add(owner)
                    yield Finding("study-missing", *study_of(key), what=name)


def not_in_ledger(client: Mongo, store: Minio) -> Iterator[Finding]:
    """Packs in the archive that the store keeper does not know."""
    manifests = (key for key in keys(store, "archive") if key.endswith(".json") and not is_report(key))
    for page in pages(manifests, PAGE):
        known = {one["_id"] for one in client["objects"]["packs"].find({"_id": {"$in": page}}, {"_id": 1})}
        yield from (Finding("not-in-ledger", *study_of(key), what=f"archive/{key}") for key in page if key not in known)


def object_missing(client: Mongo, store: Minio) -> Iterator[Finding]:
    """Objects that the index points to and that are not in the store, with what is lost unless somebody has a copy."""
    for bucket in BUCKETS:
        pipeline: list[Row] = [
            {"$match": {"location.bucket": bucket}},
            {"$group": {"_id": "$location.key"}},
            {"$sort": {"_id": 1}},
        ]
        pointed = client["index"]["instances"].aggregate(pipeline, allowDiskUse=True)
        there = (key for key in keys(store, bucket) if key.endswith(ENDINGS))
        for row, key in side_by_side(pointed, there, lambda one: str(one["_id"]), str):
            if row is not None and key is None:
                lost = _entries(client, {"location.bucket": bucket, "location.key": row["_id"]}, row["_id"])
                wanted = () if bucket == "cache" else lost
                yield Finding("object-missing", *study_of(row["_id"]), what=f"{bucket}/{row['_id']}", wanted=wanted)


def _entries(client: Mongo, where: Row, key: str) -> tuple[ManifestEntry, ...]:
    study_key = "/".join(study_of(key))
    fields = {"sop_instance_uid": 1, "sha256": 1}
    found = client["index"]["instances"].find({"study_key": study_key, **where}, fields)
    return tuple(ManifestEntry(sop_instance_uid=one["sop_instance_uid"], sha256=one["sha256"]) for one in found)


def bytes_missing(client: Mongo) -> Iterator[Finding]:
    """Originals of hospitals whose images lie in the centre, of which the centre has no byte any more.

    What a PACS lists lies there until it is moved.
    """
    central = [one["_id"] for one in client["index"]["hospitals"].find({"tier": "central"}, {"_id": 1})]
    where = {"holder": {"$in": central}, "location": None, "sha256": {"$ne": None}}
    group = {"_id": "$study_key", "lost": {"$push": {"uid": "$sop_instance_uid", "sha256": "$sha256"}}}
    for one in client["index"]["instances"].aggregate([{"$match": where}, {"$group": group}], allowDiskUse=True):
        said = client["index"]["announcements"].find_one({"_id": one["_id"]}, {"listed": 1}) or {}
        if said.get("listed") is not None:
            continue
        wanted = tuple(ManifestEntry(sop_instance_uid=each["uid"], sha256=each["sha256"]) for each in one["lost"])
        yield Finding("bytes-missing", *study_of(one["_id"]), what=f"{len(wanted)} instances", wanted=wanted)


def reports_not_indexed(client: Mongo, store: Minio) -> Iterator[Finding]:
    """Hospitals' reports in the archive that the index does not know."""
    reports = (key for key in keys(store, "archive") if key.endswith(".json") and is_report(key))
    for page in pages(reports, PAGE):
        ids = {report_version(key): key for key in page}
        known = {one["_id"] for one in client["index"]["report_versions"].find({"_id": {"$in": list(ids)}}, {"_id": 1})}
        for name, key in ids.items():
            if name not in known:
                yield Finding("report-not-indexed", key.split("/")[0], what=f"archive/{key}", detail={"key": key})


def report_version(key: str) -> str:
    """The index's name of a report's version: `<hospital>/<report>/<sha256>`."""
    hospital, _, report, file = key.split("/")
    return f"{hospital}/{report}/{file.removesuffix('.json')}"
