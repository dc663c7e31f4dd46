"""Backup, restore and the look of `region reconcile` on real servers, without any service."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from minio.commonconfig import COMPLIANCE
from minio.retention import Retention
from pydantic import SecretStr
from pyrage import x25519

from imaging_common.events import HospitalRegistered
from imaging_common.messaging.connection import client_options
from imaging_common.testing.kafka import read_all
from imaging_native.region import Region
from imaging_operate import lag
from imaging_operate import servers as connections
from imaging_operate.backup import kafka, objects, shelves
from imaging_operate.backup.make import make
from imaging_operate.backup.prune import prune
from imaging_operate.backup.restore import restore
from imaging_operate.backup.shelf import FolderShelf, S3Shelf
from imaging_operate.console import OperatingError
from imaging_operate.reconcile.look import look
from imaging_operate.reconcile.model import Finding
from imaging_operate.settings import RegionSettings
from imaging_operate.telling import tell

UID = "1.2.826.0.1.3680043.9.7"
PACK = f"community/{UID}/{UID}.1/{'a' * 64}"


def settings_of(region: Region, folder: Path | None = None) -> RegionSettings:
    """As an operator reaches the region; with a folder, with the keys in it."""
    minio, kafka = region.state["minio"], region.state["kafka"]
    return RegionSettings(
        kafka_bootstrap=kafka["bootstrap"],
        kafka_username="admin",
        kafka_password=SecretStr(kafka["users"]["admin"]),
        mongo_url=region.state["mongo"]["url"],
        minio_endpoint=minio["endpoint"],
        minio_access_key=minio["access_key"],
        minio_secret_key=SecretStr(minio["secret_key"]),
        operator="operator.test",
        backup_recipients=str(folder / "public") if folder else "",
        backup_identity=str(folder / "private") if folder else "",
    )


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair of age keys."""
    folder, key = tmp_path_factory.mktemp("keys"), x25519.Identity.generate()
    (folder / "public").write_text(str(key.to_public()))
    (folder / "private").write_text(str(key))
    return folder


@pytest.fixture(scope="module")
async def source() -> AsyncIterator[Region]:
    """The servers that are saved; not those of other tests, whose documents nobody should meet here."""
    async with Region(services=[], keycloak=False) as region:
        yield region


@pytest.fixture(scope="module")
async def fresh() -> AsyncIterator[Region]:
    """Servers of which nothing else makes use."""
    async with Region(services=[], keycloak=False) as region:
        yield region


def put(settings: RegionSettings, bucket: str, key: str, data: bytes, **more: Any) -> None:
    store = connections.minio(settings)
    store.put_object(bucket_name=bucket, object_name=key, data=BytesIO(data), length=len(data), **more)


def fill(settings: RegionSettings, data: bytes) -> None:
    """A little of everything: documents with an index, a pack, an anchor written twice, a registration."""
    with connections.mongo(settings) as client:
        studies = client["index"]["studies"]
        studies.insert_many([{**_study(n, instances=0), "_id": f"saved/{n}", "n": n} for n in range(3000)])
        studies.create_index([("n", -1)], partialFilterExpression={"n": {"$gt": 5}})
        client["gateway"]["sessions"].insert_one({"_id": "signed-in"})
    put(settings, "archive", f"{PACK}.pack", data)
    put(settings, "archive", f"{PACK}.json", b"")
    put(settings, "cache", "community/1/copy.batch", data)
    lock = Retention(COMPLIANCE, datetime.now(UTC) + timedelta(days=1))
    for text in (b"first", b"a second version"):
        put(settings, "audit-anchors", "heads/saved.json", text, retention=lock)
    registered = HospitalRegistered(
        hospital="community", revision=1, name_zh="", name_en="", level="community", tier="central"
    )
    tell(settings, [("hospital-registered", registered, "community")] * 3)


async def test_all_comes_back_in_empty_servers_and_nobody_stays_signed_in(
    source: Region, fresh: Region, keys: Path, tmp_path: Path
) -> None:
    origin, target = settings_of(source, keys), settings_of(fresh, keys)
    data, shelf = secrets.token_bytes(300_000), FolderShelf(tmp_path / "backups")
    await asyncio.to_thread(fill, origin, data)
    manifest = await asyncio.to_thread(make, origin, shelf)
    assert list(shelves.damaged(shelf, manifest, None)) == []
    done = await asyncio.to_thread(restore, target, shelf, manifest)
    assert done.records["hospital-registered"] >= 3
    with connections.mongo(origin) as before, connections.mongo(target) as after:
        where = {"_id": {"$regex": "^saved/"}}
        assert list(after["index"]["studies"].find(where)) == list(before["index"]["studies"].find(where))
        indexes = [client["index"]["studies"].index_information() for client in (before, after)]
        assert indexes[0] == indexes[1]
        assert after["gateway"]["sessions"].count_documents({}) == 0
        assert after["index"]["meta"].find_one({"_id": "epoch"})["epoch"] >= 1
    store = connections.minio(target)
    assert store.get_object(bucket_name="archive", object_name=f"{PACK}.pack").read() == data
    assert store.get_object(bucket_name="audit-anchors", object_name="heads/saved.json").read() == b"first"
    kept = store.get_object_retention(bucket_name="audit-anchors", object_name="heads/saved.json")
    assert kept.mode == COMPLIANCE
    assert list(store.list_objects(bucket_name="cache", recursive=True)) == []
    assert len(await read_all(target, "hospital-registered")) >= 3
    with pytest.raises(OperatingError, match="not empty"):
        await asyncio.to_thread(restore, target, shelf, manifest)


async def test_objects_are_saved_once_and_go_with_the_last_backup_that_has_them(
    source: Region, keys: Path, tmp_path: Path
) -> None:
    settings, shelf = settings_of(source, keys), FolderShelf(tmp_path)
    key = f"community/{UID}/only-in-the-first.pack"
    await asyncio.to_thread(put, settings, "archive", key, b"here today")
    first = await asyncio.to_thread(make, settings, shelf)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "objects").rglob("*.age")}
    connections.minio(settings).remove_object(bucket_name="archive", object_name=key)
    second = await asyncio.to_thread(_later_than, settings, shelf, first.id)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert second.objects.count["archive"] == first.objects.count["archive"] - 1
    gone = prune(shelf, keep=1)
    assert (gone.backups, gone.objects) == ([first.id], 1)
    assert shelves.finished(shelf) == [second.id]
    assert list(shelves.damaged(shelf, second, None)) == []


def _later_than(settings: RegionSettings, shelf: FolderShelf, backup: str) -> Any:
    """Backups are named by the second they began in."""
    made = make(settings, shelf)
    while made.id == backup:
        made = make(settings, shelf)
    return made


async def test_a_store_elsewhere_takes_backups_too(source: Region, keys: Path) -> None:
    settings = settings_of(source, keys)
    store = connections.minio(settings)
    await asyncio.to_thread(put, settings, "archive", f"community/{UID}/for-s3.pack", secrets.token_bytes(50_000))
    await asyncio.to_thread(store.make_bucket, "backups")
    shelf = S3Shelf(store, "backups", "region")
    manifest = await asyncio.to_thread(make, settings, shelf)
    assert await asyncio.to_thread(lambda: list(shelves.damaged(shelf, manifest, None))) == []
    assert not shelf.exists("nothing")
    with pytest.raises(FileNotFoundError), shelf.reading("nothing"):
        pass
    with pytest.raises(OSError, match="broke off"):
        await asyncio.to_thread(_break_off, shelf)
    assert not shelf.exists("half")


def _break_off(shelf: S3Shelf) -> None:
    with shelf.writing("half") as file:
        file.write(b"x" * 100)
        raise OSError("the source broke off")


async def test_readers_go_on_where_they_were_when_only_the_database_was_lost(source: Region) -> None:
    settings = settings_of(source)
    record = HospitalRegistered(hospital="tcm", revision=1, name_zh="", name_en="", level="secondary", tier="central")
    await asyncio.to_thread(tell, settings, [("hospital-registered", record, "tcm")] * 6)
    consumer = AIOKafkaConsumer(
        "hospital-registered",
        **client_options(settings, "test"),
        group_id="dicom-ingest",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        first = await consumer.getone()
        await consumer.commit()
        admin = connections.kafka(settings)
        known = await asyncio.to_thread(kafka.metadata, admin)
        with pytest.raises(OperatingError, match="stop them before the restore: dicom-ingest"):
            await asyncio.to_thread(kafka.rewind, settings, known)
        for _ in range(4):
            await consumer.getone()
        await consumer.commit()
    finally:
        await consumer.stop()
    again = await asyncio.to_thread(kafka.rewind, settings, known)
    assert again["dicom-ingest"] == 4
    assert lag.committed(admin, "dicom-ingest")["hospital-registered", 0] == first.offset + 1


async def test_a_backup_says_which_objects_it_has(source: Region, keys: Path, tmp_path: Path) -> None:
    settings, shelf = settings_of(source, keys), FolderShelf(tmp_path)
    await asyncio.to_thread(put, settings, "archive", f"community/{UID}/listed.pack", b"data")
    manifest = await asyncio.to_thread(make, settings, shelf)
    names = list(objects.names(shelf, manifest.id))
    assert len(names) == sum(manifest.objects.count.values())
    (tmp_path / names[0]).unlink()
    assert list(shelves.damaged(shelf, manifest, None)) == [f"{names[0]} is missing"]


async def test_what_is_missing_is_named(fresh: Region) -> None:
    settings = settings_of(fresh)
    found = await asyncio.to_thread(_lose_things, settings)
    kinds = {(one.kind, one.study_uid) for one in found}
    assert {
        ("not-indexed", f"{UID}.1"),
        ("not-in-ledger", f"{UID}.1"),
        ("object-missing", f"{UID}.2"),
        ("rows-missing", f"{UID}.3"),
        ("study-missing", f"{UID}.4"),
        ("bytes-missing", f"{UID}.5"),
        ("announced-not-here", f"{UID}.6"),
        ("not-told", f"{UID}.2"),
        ("told-newer", f"{UID}.3"),
        ("deletion-not-followed", f"{UID}.3"),
        ("announcements-missing", ""),
        ("report-not-indexed", ""),
    } <= kinds
    wanted = {(one.kind, one.study_uid): [entry.sop_instance_uid for entry in one.wanted] for one in found}
    assert wanted["object-missing", f"{UID}.2"] == [f"{UID}.2.1"]
    assert wanted["bytes-missing", f"{UID}.5"] == [f"{UID}.5.1"]
    assert wanted["announced-not-here", f"{UID}.6"] == [f"{UID}.6.1"]


def _lose_things(settings: RegionSettings) -> list[Finding]:
    key = f"lost/{UID}.1/s/{'b' * 64}"
    for ending in (".pack", ".json"):
        put(settings, "archive", key + ending, b"x")
    put(settings, "archive", f"lost/reports/{'c' * 32}/{'d' * 64}.json", b"{}")
    with connections.mongo(settings) as client:
        index = client["index"]
        index["hospitals"].insert_one({"_id": "lost", "tier": "central"})
        index["studies"].insert_many(
            [_study(2, instances=1), _study(3, instances=2), _study(5, instances=1), _study(6, instances=0)]
        )
        index["instances"].insert_many([_instance(2, "archive"), _instance(4, "archive"), _instance(5, None)])
        index["series"].insert_many([{"_id": f"lost/{UID}.{n}/s", "study_key": f"lost/{UID}.{n}"} for n in (2, 5)])
        said = {"number": 1, "entries": [[f"{UID}.6.1", "e" * 64]], "listed": None}
        index["announcements"].insert_one({"_id": f"lost/{UID}.6", **said})
        client["notification"]["latest"].insert_one({"_id": f"study/{UID}.3/lost", "order": [0, 1, 9]})
        client["objects"]["study_commands"].insert_one(
            {"_id": f"lost/{UID}.3", "deletion_revision": 2, "deleted": True}
        )
        heartbeat = {"pacs": {"studies": 4, "waiting": 0}}
        client["gateway"]["edges"].insert_one({"_id": "lost", "heartbeat": heartbeat, "heard_at": datetime.now(UTC)})
        return look(client, connections.minio(settings))


def _study(number: int, *, instances: int) -> dict[str, Any]:
    return {
        "_id": f"lost/{UID}.{number}",
        "holder": "lost",
        "study_uid": f"{UID}.{number}",
        "version": {"epoch": 1, "n": 4},
        "instance_count": instances,
        "series_count": min(1, instances),
        "announced": number == 6,
        "settled": False,
        "announced_at": datetime(2026, 1, 1, tzinfo=UTC),
    }


def _instance(number: int, bucket: str | None) -> dict[str, Any]:
    key = f"lost/{UID}.{number}"
    return {
        "_id": f"{key}/{UID}.{number}.1",
        "study_key": key,
        "series_key": f"{key}/s",
        "holder": "lost",
        "sop_instance_uid": f"{UID}.{number}.1",
        "sha256": f"{number:064x}",
        "digests": [f"{number:064x}"],
        "location": {"bucket": bucket, "key": f"{key}/s/gone.pack"} if bucket else None,
    }
