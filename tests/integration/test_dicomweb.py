"""From manifests in MinIO through the index in MongoDB to DICOMweb, asked by `dicomweb-client`; no Kafka in between."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pydicom
import pytest
import uvicorn
from dicomweb_client import DICOMwebClient
from fastapi import FastAPI, Request
from pydantic import SecretStr

from gateway.dicomweb import build_dicomweb_router
from imaging_common import mongo
from imaging_common.access import Subject
from imaging_common.audit import AuditTrail
from imaging_common.dicom.gate import CheckedInstance, check_instance
from imaging_common.events import InstancesLocated, ManifestEntry, StudyAvailable, StudyChanged
from imaging_common.index.read import INSTANCES, STUDIES, StudyIndex
from imaging_common.messaging import FakePublisher
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.objects.manifest import write_manifest
from imaging_common.objects.model import Manifest, StoredInstance, batch_key, collection_id, pack_key
from imaging_common.objects.rebuild import encode_frame
from imaging_common.objects.store import MinioObjectStore
from imaging_common.settings import ServiceSettings
from imaging_common.testing.waiting import until
from imaging_native import ct
from indexer.adapters.mongo_index import MongoIndex
from indexer.usecases.announce_study import AnnounceStudy
from indexer.usecases.index_catalogue import IndexCatalogue
from indexer.usecases.index_manifest import IndexManifest
from indexer.usecases.settle_quiet_studies import SettleQuietStudies
from indexer.usecases.sweep_objects import IndexObject, SweepObjects

SLICES = 12
EXPLICIT_LE = ("application/octet-stream", "1.2.840.10008.1.2.1")
DOCTOR = Subject("doctor.community", "community", frozenset({"doctor"}))


@dataclass
class Place:
    """The index, its use cases, the stores and a DICOMweb address over them."""

    database: Any
    index: MongoIndex
    store: MinioObjectStore
    index_object: IndexObject
    reader: StudyIndex
    published: FakePublisher
    outbox: Outbox
    url: str

    async def told(self) -> list[Any]:
        """Everything that was published so far."""
        await until(self._all_sent)
        return [event for _, event, _ in self.published.published]

    async def _all_sent(self) -> bool:
        return await self.outbox.pending() == 0


@pytest.fixture
async def place(servers: Any) -> AsyncIterator[Place]:
    access, secret = servers.minio.credentials["root-user"]
    settings = ServiceSettings(
        mongo_url=servers.mongodb.url("root"),
        minio_endpoint=servers.minio.endpoint,
        minio_access_key=access,
        minio_secret_key=SecretStr(secret),
    )
    client = mongo.connect(settings)
    database = client[f"index-{uuid4().hex[:8]}"]
    outbox, published = Outbox(database), FakePublisher()
    index, store = MongoIndex(client, database, outbox), MinioObjectStore(settings)
    await index.prepare()
    relay = OutboxRelay(outbox, published)
    await relay.start()
    reader = StudyIndex.on(database)

    async def subject_of(request: Request) -> Subject:
        return DOCTOR

    app = FastAPI()
    trail = AuditTrail("gateway", FakePublisher())
    app.include_router(build_dicomweb_router(reader, store, subject_of, trail), prefix="/dicomweb")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Place(
        database,
        index,
        store,
        IndexObject(index, store, IndexManifest(index, 0.0)),
        reader,
        published,
        outbox,
        f"http://127.0.0.1:{port}/dicomweb",
    )
    server.should_exit = True
    await serving
    await relay.stop()
    await client.drop_database(database)
    await client.close()


def stored(instance: CheckedInstance, position: int, **changes: Any) -> StoredInstance:
    """The instance inside a data object, from `position` on."""
    fields: dict[str, Any] = {
        "sop_instance_uid": instance.sop_instance_uid,
        "sop_class_uid": instance.sop_class_uid,
        "series_uid": instance.series_uid,
        "instance_number": instance.instance_number,
        "transfer_syntax_uid": instance.transfer_syntax_uid,
        "sha256": instance.sha256,
        "pixel_sha256": instance.pixel_sha256,
        "original_length": instance.length,
        "offset": position,
        "length": instance.length,
        "frames": [[(start + position, size) for start, size in ranges] for ranges in instance.frames],
        "frame_transfer_syntax_uid": instance.transfer_syntax_uid,
        "header": instance.header,
    }
    return StoredInstance(**(fields | changes))


async def stage(store: MinioObjectStore, files: list[bytes], **fields: Any) -> str:
    """Write a batch as ingest does; its manifest's key."""
    checked, position, instances = [check_instance(file) for file in files], 0, []
    for instance in checked:
        instances.append(stored(instance, position))
        position += instance.length
    identity = collection_id([instance.sha256 for instance in checked])
    key = batch_key("community", checked[0].study_uid, identity)
    await store.put("staging", key, b"".join(files))
    manifest = Manifest(
        kind="batch", hospital="community", study_uid=checked[0].study_uid, id=identity, data_key=key,
        instances=instances, **fields,
    )  # fmt: skip
    return await write_manifest(store, "staging", manifest)


async def pack(store: MinioObjectStore, files: list[bytes]) -> str:
    """Write an HTJ2K pack as the object writer does; its manifest's key."""
    checked, instances, data = [check_instance(file) for file in files], [], b""
    for file, instance in zip(files, checked, strict=True):
        ((start, size),) = instance.frames[0]
        encoded = encode_frame(
            file[start : start + size], rows=512, columns=512, samples=1, bits=16, signed=True, big_endian=False
        )
        entry = file[:start] + encoded + file[start + size :]
        instances.append(
            stored(
                instance,
                len(data),
                length=len(entry),
                encoding="htj2k",
                head_length=start,
                tail_length=len(file) - start - size,
                frames=[[(len(data) + start, len(encoded))]],
                frame_transfer_syntax_uid="1.2.840.10008.1.2.4.202",
                native_frame_length=size,
                signed=True,
            )
        )
        data += entry
    identity = collection_id([instance.sha256 for instance in checked])
    key = pack_key("community", checked[0].study_uid, checked[0].series_uid, identity)
    await store.put("archive", key, data)
    manifest = Manifest(
        kind="pack", hospital="community", study_uid=checked[0].study_uid, id=identity, data_key=key,
        instances=instances,
    )  # fmt: skip
    return await write_manifest(store, "archive", manifest)


def announcement(files: list[bytes], number: int = 1) -> StudyAvailable:
    checked = [check_instance(file) for file in files]
    entries = [ManifestEntry(sop_instance_uid=i.sop_instance_uid, sha256=i.sha256) for i in checked]
    return StudyAvailable.model_validate(
        {"study_uid": checked[0].study_uid, "announcement": number, "basis": "quiet", "instances": entries,
         "announced_at": "2026-11-24T00:00:00Z"}
    )  # fmt: skip


def make_series(folder: Path, seed: int) -> tuple[ct.Series, list[bytes]]:
    series = ct.write_series(folder / str(seed), slices=SLICES, seed=seed)
    return series, [path.read_bytes() for path in series.files]


async def test_series_is_found_viewed_and_given_back_when_it_lies_in_staging_and_archive(
    place: Place, tmp_path: Path
) -> None:
    series, files = await asyncio.to_thread(make_series, tmp_path, 41)
    await place.index_object("staging", await stage(place.store, files[:5]))
    await place.index_object("staging", await stage(place.store, files[5:]))
    await AnnounceStudy(place.index)("community", announcement(files))
    client = DICOMwebClient(place.url)
    (row,) = await asyncio.to_thread(
        client.search_for_studies, search_filters={"PatientName": "wang xiaodong"}, fuzzymatching=True
    )
    assert row["00201208"]["Value"] == [SLICES]
    staged = await asyncio.to_thread(view, client, series)
    await place.index_object("archive", await pack(place.store, files))
    async for entry in place.store.list("staging", f"community/{series.study_uid}/"):
        await place.store.delete("staging", entry.key)
    archived = await asyncio.to_thread(view, client, series)
    assert staged == archived == [hashlib.sha256(file).hexdigest() for file in files]
    async with httpx.AsyncClient(base_url=place.url) as web:
        uid = f"{series.series_uid}/instances/{ct.uid(41, 'sop', 1)}"
        frame = await web.get(
            f"/studies/{series.study_uid}/series/{uid}/frames/1",
            headers={"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"},
        )
        assert frame.headers["imaging-stored-in"] == "archive"
        assert b"image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202" in frame.content[:200]
    changed = [event for event in await place.told() if isinstance(event, StudyChanged)]
    assert [event.version.n for event in changed] == list(range(1, len(changed) + 1))
    assert (changed[-1].announced, changed[-1].settled, changed[-1].stored) == (True, True, True)
    (located,) = [event for event in await place.told() if isinstance(event, InstancesLocated)]
    assert len(located.instances) == SLICES


def view(client: DICOMwebClient, series: ct.Series) -> list[str]:
    """Frames are the pixels that were sent; the files' SHA-256 in display order."""
    names = [ct.uid(41, "sop", number) for number in range(1, SLICES + 1)]
    for number in (0, SLICES - 1):
        (frame,) = client.retrieve_instance_frames(
            series.study_uid, series.series_uid, names[number], [1], media_types=(EXPLICIT_LE,)
        )
        sent = pydicom.dcmread(series.files[number])
        assert np.array_equal(np.frombuffer(frame, "<i2"), np.frombuffer(sent.PixelData, "<i2"))
    metadata = client.retrieve_series_metadata(series.study_uid, series.series_uid)
    assert [header["00080018"]["Value"][0] for header in metadata] == names
    received = httpx.get(
        f"{client.base_url}/studies/{series.study_uid}",
        headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
        timeout=30,
    )
    boundary = received.headers["content-type"].split("boundary=")[1].encode()
    parts = [
        part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in received.content.split(b"--" + boundary)[1:-1]
    ]
    return [hashlib.sha256(part).hexdigest() for part in parts]


async def test_index_is_complete_when_sweeps_race_with_events(place: Place, tmp_path: Path) -> None:
    series, files = await asyncio.to_thread(make_series, tmp_path, 42)
    keys = [await stage(place.store, [file]) for file in files]
    await pack(place.store, files)
    sweep = SweepObjects(place.index, place.store, place.index_object, IndexCatalogue(place.index, place.store))
    other = MongoIndex(place.database.client, place.database, Outbox(place.database))
    twin = IndexObject(other, place.store, IndexManifest(other, 0.0))
    await asyncio.gather(
        *(place.index_object("staging", key) for key in keys),
        *(twin("staging", key) for key in reversed(keys)),
        sweep("staging"),
        SweepObjects(other, place.store, twin, IndexCatalogue(other, place.store))("archive"),
        AnnounceStudy(other)("community", announcement(files)),
    )
    (study,) = await place.reader.holders_of(series.study_uid)
    assert (study.instance_count, study.stored_count, study.settled, study.stored) == (SLICES, SLICES, True, True)
    versions = [
        e.version.n for e in await place.told() if isinstance(e, StudyChanged) and e.study_uid == series.study_uid
    ]
    assert versions == list(range(1, len(versions) + 1))


async def test_spoofed_announcement_is_not_listed(place: Place, tmp_path: Path) -> None:
    series, files = await asyncio.to_thread(make_series, tmp_path, 43)
    await place.index_object("staging", await stage(place.store, files[:2], has_edge=False))
    await AnnounceStudy(place.index)("secondary", announcement(files[:2]))
    assert [study.holder for study in await place.reader.holders_of(series.study_uid)] == ["community"]
    expert = Subject("expert", "secondary", frozenset({"expert"}))
    assert (await place.reader.search_studies(expert)).rows == []
    assert await SettleQuietStudies(place.index)() == 1
    (study,) = await place.reader.holders_of(series.study_uid)
    assert (study.settled, study.settled_basis, study.announced) == (True, "quiet", False)


async def test_search_pages_and_merges_as_the_fake_does(place: Place, tmp_path: Path) -> None:
    _, files = await asyncio.to_thread(make_series, tmp_path, 44)
    await place.index_object("staging", await stage(place.store, files))
    page = await place.reader.search(INSTANCES, DOCTOR, {}, limit=5, offset=10)
    assert ([row.first["instance_number"] for row in page.rows], page.remaining) == ([11, 12], 0)
    study = await place.database.studies.find_one({})
    await place.database.studies.insert_one({**study, "_id": "tertiary/" + study["study_uid"], "holder": "tertiary"})
    assert len((await place.reader.search(STUDIES, DOCTOR, {}, limit=5, offset=0)).rows[0].documents) == 1
