"""The indexer as a process on real servers, for studies in a hospital's PACS: catalogue, cached copies, eviction."""

import hashlib
import statistics
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pydicom.uid import generate_uid

from imaging_common.events import (
    Event,
    InstancesEvicted,
    InstancesReceived,
    StudyAvailable,
    StudyChanged,
    StudyWithdrawn,
)
from imaging_common.index.read import StudyIndex
from imaging_common.messaging import KafkaPublisher
from imaging_common.messaging.outbox import Outbox
from imaging_common.messaging.tail import Tail
from imaging_common.mongo import connect
from imaging_common.objects.catalogue import Catalogue, CatalogueInstance, catalogue_key, encode
from imaging_common.objects.manifest import write_manifest
from imaging_common.objects.model import Manifest, StoredInstance, batch_key, manifest_key
from imaging_common.objects.store import MinioObjectStore
from imaging_common.settings import ServiceSettings
from imaging_common.testing.waiting import until
from imaging_native.process import LocalProcess, free_port, http_ready
from imaging_native.region import Region
from indexer.adapters.index_contract import check_index
from indexer.adapters.mongo_index import MongoIndex

HOSPITAL = "tertiary"
SLICES = 500
PADDING = "x" * 4000
"""A CT's header is about this long as JSON."""


def settings_of(region: Region, principal: str) -> ServiceSettings:
    """A service's settings: its Kafka user, the indexer's database, all rights on the objects."""
    state = region.state
    return ServiceSettings(
        kafka_bootstrap=state["kafka"]["bootstrap"],
        kafka_username=principal,
        kafka_password=SecretStr(state["kafka"]["users"][principal]),
        mongo_url=state["mongo"]["urls"]["indexer"],
        minio_endpoint=state["minio"]["endpoint"],
        minio_access_key=state["minio"]["access_key"],
        minio_secret_key=SecretStr(state["minio"]["secret_key"]),
    )


class Study:
    """A CT study in the hospital's PACS, without pixels."""

    def __init__(self, slices: int = SLICES) -> None:
        self.uid = str(generate_uid())[:48].rstrip(".")
        self.series = f"{self.uid}.1"
        self.instances = [self._instance(number) for number in range(slices)]

    def _instance(self, number: int) -> StoredInstance:
        uid = f"{self.series}.{number + 1}"
        return StoredInstance(
            sop_instance_uid=uid,
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            series_uid=self.series,
            instance_number=number,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            sha256=hashlib.sha256(uid.encode()).hexdigest(),
            pixel_sha256=hashlib.sha256(f"{uid}p".encode()).hexdigest(),
            original_length=100,
            offset=0,
            length=100,
            header={
                "00080018": {"vr": "UI", "Value": [uid]},
                "00080060": {"vr": "CS", "Value": ["CT"]},
                "00100010": {"vr": "PN", "Value": [{"Ideographic": "王^小东"}]},
                "00204000": {"vr": "LT", "Value": [PADDING]},
            },
        )

    def catalogue(self, number: int = 1) -> Catalogue:
        return Catalogue(
            hospital=HOSPITAL,
            study_uid=self.uid,
            announcement=number,
            study={"00100020": {"vr": "LO", "Value": ["P-1"]}},
            series=[{"0020000E": {"vr": "UI", "Value": [self.series]}, "00080060": {"vr": "CS", "Value": ["CT"]}}],
            instances=[
                CatalogueInstance(
                    sop_instance_uid=i.sop_instance_uid,
                    sop_class_uid=i.sop_class_uid,
                    series_uid=i.series_uid,
                    instance_number=i.instance_number,
                    full=True,
                    header=i.header,
                )
                for i in self.instances
            ],
        )

    def batch(self, numbers: range) -> Manifest:
        identity = hashlib.sha256(f"{self.uid}/{numbers}/{time.time_ns()}".encode()).hexdigest()
        return Manifest(
            kind="batch",
            bucket="cache",
            hospital=HOSPITAL,
            study_uid=self.uid,
            id=identity,
            data_key=batch_key(HOSPITAL, self.uid, identity),
            instances=[self.instances[number] for number in numbers],
        )


class Centre:
    """The indexer's process, and the test in the place of edge, ingest, object writer and gateway."""

    def __init__(self, region: Region, folder: Path) -> None:
        self.region = region
        self.settings = settings_of(region, "indexer")
        self.store = MinioObjectStore(self.settings)
        self.client = connect(self.settings)
        self.index = StudyIndex.on(self.client["index"])
        self.publishers = {
            name: KafkaPublisher(name, settings_of(region, name))
            for name in ("dicom-ingest", "edge-tertiary", "object-writer")
        }
        self.changes: list[StudyChanged] = []
        self._tail = Tail("gateway", settings_of(region, "gateway"), ["study-changed"], self._take)
        port = free_port()
        environment = {f"INDEXER_{name.upper()}": value for name, value in self._values(port).items()}
        ready = http_ready(f"http://127.0.0.1:{port}/health/ready")
        self.process = LocalProcess("indexer", [sys.executable, "-m", "indexer"], environment, folder, ready)

    def _values(self, port: int) -> dict[str, str]:
        settings = self.settings
        return {
            "http_port": str(port),
            "kafka_bootstrap": settings.kafka_bootstrap,
            "kafka_username": settings.kafka_username,
            "kafka_password": settings.kafka_password.get_secret_value(),
            "mongo_url": settings.mongo_url,
            "minio_endpoint": settings.minio_endpoint,
            "minio_access_key": settings.minio_access_key,
            "minio_secret_key": settings.minio_secret_key.get_secret_value(),
            "cache_sweep_seconds": "2",
        }

    async def _take(self, event: Event, *_: Any) -> None:
        if isinstance(event, StudyChanged):
            self.changes.append(event)

    async def __aenter__(self) -> "Centre":
        await self._tail.start()
        await self.process.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.process.stop()
        await self._tail.stop()
        for publisher in self.publishers.values():
            await publisher.stop()
        await self.client.close()

    async def announce(self, study: Study, number: int = 1, *, tell: bool = True) -> None:
        data = encode(study.catalogue(number))
        key = catalogue_key(HOSPITAL, study.uid, data)
        await self.store.put("cache", key, data)
        event = StudyAvailable(
            study_uid=study.uid, announcement=number, basis="pacs", instances=[], announced_at=datetime.now(UTC),
            catalogue_key=key,
        )  # fmt: skip
        if tell:
            await self.publishers["edge-tertiary"].publish(f"edge-events-{HOSPITAL}", event, study.uid)

    async def retrieve(self, study: Study, numbers: range) -> tuple[Manifest, float]:
        """A cached batch and its event; when the event was out."""
        manifest = study.batch(numbers)
        await self.store.put("cache", manifest.data_key, b"x")
        key = await write_manifest(self.store, "cache", manifest)
        event = InstancesReceived(
            hospital=HOSPITAL, study_uid=study.uid, batch_id=manifest.id, manifest_key=key,
            instance_count=len(numbers), byte_count=1, has_edge=True, bucket="cache",
        )  # fmt: skip
        begun = time.perf_counter()
        await self.publishers["dicom-ingest"].publish("instances-received", event, study.uid)
        return manifest, begun

    def last(self, study: Study) -> StudyChanged | None:
        """The newest statement about a study."""
        found = [change for change in self.changes if change.study_uid == study.uid]
        return found[-1] if found else None

    async def online(self, study: Study, count: int) -> None:
        """Wait until so many of the study's images are told to be here."""
        await until(
            lambda: (last := self.last(study)) is not None and last.online_count == count, 60, f"{count} online"
        )


@pytest.fixture(scope="module")
async def centre(servers: Region, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Centre]:
    """The indexer, running."""
    async with Centre(servers, tmp_path_factory.mktemp("indexer")) as centre:
        yield centre


async def test_mongo_index_keeps_the_contract(servers: Region) -> None:
    client = connect(settings_of(servers, "indexer"))
    index = MongoIndex(client, client["index"], Outbox(client["index"]))
    await index.prepare()
    try:
        await check_index(index, HOSPITAL, str(generate_uid()))
    finally:
        await client.close()


async def test_study_in_the_pacs_is_listed_read_evicted_and_withdrawn(centre: Centre) -> None:
    study = Study()
    await centre.announce(study)
    await centre.online(study, 0)
    (document,) = await centre.index.holders_of(study.uid)
    assert (document.tier, document.instance_count, document.online_count) == ("distributed", SLICES, 0)
    assert (document.settled_basis, document.header_count, document.announced_count) == ("pacs", SLICES, SLICES)
    manifest, _ = await centre.retrieve(study, range(3))
    await centre.online(study, 3)
    key = f"{HOSPITAL}/{study.uid}"
    instance = await centre.index.instance(key, study.instances[1].sop_instance_uid)
    assert instance is not None
    assert instance.location is not None
    assert (instance.location.bucket, instance.location.key) == ("cache", manifest.data_key)
    evicted = InstancesEvicted(
        hospital=HOSPITAL, study_uid=study.uid, bucket="cache", manifest_keys=[manifest_key(manifest.data_key)]
    )
    await centre.publishers["object-writer"].publish("instances-stored", evicted, study.uid)
    await centre.online(study, 0)
    withdrawn = StudyWithdrawn(study_uid=study.uid, announcement=2, reason="gone")
    await centre.publishers["edge-tertiary"].publish(f"edge-events-{HOSPITAL}", withdrawn, study.uid)
    await until(lambda: (last := centre.last(study)) is not None and last.withdrawn, 30, "withdrawal")
    assert await centre.index.holders_of(study.uid) == []


async def test_catalogue_is_found_when_no_event_tells_of_it(centre: Centre) -> None:
    study = Study(5)
    await centre.announce(study, tell=False)
    await until(lambda: centre.last(study) is not None, 30, "the sweep")


async def test_first_image_is_told_soon_while_others_are_indexed(centre: Centre) -> None:
    watched, others = Study(), [Study() for _ in range(4)]
    await centre.announce(watched)
    await centre.online(watched, 0)
    alone = [await first_image(centre, watched, number) for number in range(10)]
    for other in others:
        await centre.announce(other)
    busy = [await first_image(centre, watched, number) for number in range(10, 14)]
    for other in others:
        await centre.online(other, 0)
    for other in others:
        await centre.retrieve(other, range(120))
    busy += [await first_image(centre, watched, number) for number in range(14, 18)]
    print(
        f"first image told after {statistics.median(alone):.3f} s, busy {statistics.median(busy):.3f} {max(busy):.3f}"
    )
    assert statistics.median(alone) < 1
    assert max(busy) < 3


async def first_image(centre: Centre, study: Study, number: int) -> float:
    """Seconds from the batch's event to the statement that it is here."""
    count = number + 1
    _, begun = await centre.retrieve(study, range(number, count))
    await centre.online(study, count)
    return time.perf_counter() - begun
