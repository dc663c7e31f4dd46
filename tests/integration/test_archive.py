"""The store keeper as a process on real servers: packs, receipts, sweeps and the grace, killed in the middle of it."""

import asyncio
import contextlib
import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dicom_ingest.model import Accepted, Sender
from dicom_ingest.usecases.store_instances import StoreInstances
from imaging_common.audit import AuditTrail
from imaging_common.events import BatchStored, Event, InstancesLocated, InstancesStored, ManifestEntry
from imaging_common.messaging import FakePublisher, KafkaPublisher
from imaging_common.messaging.cloudevents import read_envelope, read_event
from imaging_common.messaging.outbox import Outbox
from imaging_common.objects.manifest import read_manifest
from imaging_common.objects.model import Manifest
from imaging_common.objects.rebuild import rebuild_instance
from imaging_common.objects.store import MinioObjectStore, ObjectNotFound
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import read_all
from imaging_common.testing.waiting import until
from imaging_native import ct
from imaging_native.process import LocalProcess, free_port, http_ready
from imaging_native.region import Region
from object_writer.adapters.ledger_contract import Study, check_ledger
from object_writer.adapters.mongo_ledger import MongoLedger

SLICES = 60


def settings_of(region: Region, principal: str) -> ServiceSettings:
    """A service's settings: its Kafka user, and all rights on the stores."""
    state = region.state
    return ServiceSettings(
        kafka_bootstrap=state["kafka"]["bootstrap"],
        kafka_username=principal,
        kafka_password=SecretStr(state["kafka"]["users"][principal]),
        mongo_url=state["mongo"]["urls"]["object-writer"],
        minio_endpoint=state["minio"]["endpoint"],
        minio_access_key=state["minio"]["access_key"],
        minio_secret_key=SecretStr(state["minio"]["secret_key"]),
    )


class Archive:
    """The writer's process, and the test in the place of ingest and indexer."""

    def __init__(self, region: Region, folder: Path, series: ct.Series) -> None:
        self.region, self.series = region, series
        self.files = [path.read_bytes() for path in series.files]
        self.digests = {hashlib.sha256(file).hexdigest() for file in self.files}
        self.store = MinioObjectStore(settings_of(region, "dicom-ingest"))
        self.ingest = KafkaPublisher("dicom-ingest", settings_of(region, "dicom-ingest"))
        self.indexer = KafkaPublisher("indexer", settings_of(region, "indexer"))
        self._folder = folder
        port = free_port()
        environment = {f"OBJECT_WRITER_{name.upper()}": value for name, value in self._values(port).items()}
        command = [sys.executable, "-m", "object_writer"]
        ready = http_ready(f"http://127.0.0.1:{port}/health/ready")
        self.process = LocalProcess("object-writer", command, environment, folder, ready)

    def _values(self, port: int) -> dict[str, str]:
        settings = settings_of(self.region, "object-writer")
        return {
            "http_port": str(port),
            "kafka_bootstrap": settings.kafka_bootstrap,
            "kafka_username": settings.kafka_username,
            "kafka_password": settings.kafka_password.get_secret_value(),
            "mongo_url": settings.mongo_url,
            "minio_endpoint": settings.minio_endpoint,
            "minio_access_key": settings.minio_access_key,
            "minio_secret_key": settings.minio_secret_key.get_secret_value(),
            "scratch_dir": str(self._folder),
            "seal_quiet_seconds": "0.5",
            "grace_seconds": "0",
            "sweep_seconds": "0.5",
            "lease_seconds": "3",
        }

    async def stage(self, numbers: range, *, tell: bool = True) -> None:
        """A batch of these slices, with or without its event."""
        file = self._folder / "batch"
        parts, position = [], 0
        data = [self.files[number] for number in numbers]
        for one in data:
            parts.append((position, len(one)))
            position += len(one)
        await asyncio.to_thread(file.write_bytes, b"".join(data))
        publisher = self.ingest if tell else FakePublisher()
        store = StoreInstances(self.store, publisher, AuditTrail("dicom-ingest", FakePublisher()))
        outcomes = await store(Sender("edge-community", "community", has_edge=True), file, parts, None)
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)

    async def events(self, topic: str, principal: str) -> list[Event]:
        """What a topic holds of the series' study."""
        records = await read_all(settings_of(self.region, principal), topic)
        found = [read_event(record, read_envelope(record)) for record in records]
        return [event for event in found if getattr(event, "study_uid", "") == self.series.study_uid]

    async def packs(self) -> list[tuple[str, Manifest]]:
        """The archive's packs of the study."""
        keys = [e.key async for e in self.store.list("archive", f"community/{self.series.study_uid}/")]
        found = []
        for key in keys:
            with contextlib.suppress(ObjectNotFound):  # it was replaced and is gone by now
                if key.endswith(".json"):
                    found.append((key, await read_manifest(self.store, "archive", key)))
        return found

    async def packed(self) -> set[str]:
        """SHA-256 of every file that the newest packs give back."""
        packs = await self.packs()
        old = {key for _, manifest in packs for key in manifest.replaces}
        digests = set()
        for key, manifest in packs:
            if key not in old:
                for entry in manifest.instances:
                    with contextlib.suppress(ObjectNotFound):
                        file = await rebuild_instance(self.store, "archive", manifest.data_key, entry)
                        digests.add(hashlib.sha256(file).hexdigest())
        return digests

    async def locate(self) -> None:
        """Answer every pack as the indexer does."""
        for event in await self.events("instances-stored", "indexer"):
            assert isinstance(event, InstancesStored)
            for key, manifest in await self.packs():
                if key == event.manifest_key:
                    entries = [
                        ManifestEntry(sop_instance_uid=i.sop_instance_uid, sha256=i.sha256) for i in manifest.instances
                    ]
                    located = InstancesLocated(
                        hospital="community", study_uid=event.study_uid, manifest_key=key, instances=entries
                    )
                    await self.indexer.publish("instances-located", located, event.study_uid)

    async def receipts(self) -> set[str]:
        events = await self.events("edge-commands-community", "edge-community")
        return {entry.sha256 for event in events if isinstance(event, BatchStored) for entry in event.instances}

    async def staged(self) -> list[str]:
        return [e.key async for e in self.store.list("staging", f"community/{self.series.study_uid}/")]


@pytest.fixture(scope="module")
async def archive(servers: Region, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Archive]:
    folder = tmp_path_factory.mktemp("archive")
    series = await asyncio.to_thread(ct.write_series, folder / "ct", slices=SLICES + 2, seed=53)
    archive = Archive(servers, folder, series)
    await archive.process.start()
    try:
        yield archive
    finally:
        await archive.process.stop()
        for publisher in (archive.ingest, archive.indexer):
            with contextlib.suppress(Exception):
                await publisher.stop()


async def test_files_come_back_when_writer_is_killed_while_packing(archive: Archive) -> None:
    ledger = archive.region.client("object-writer")["objects"]
    for start in range(0, SLICES, 20):
        await archive.stage(range(start, start + 20))

    async def leased() -> bool:
        return await ledger["series"].find_one({"lease_owner": {"$ne": None}}) is not None

    await until(leased, 30, "the series is being packed")
    archive.process.kill()
    await archive.process.start()
    await until(lambda: _has(archive.packed, SLICES), 60, "packed")
    assert await archive.packed() == {hashlib.sha256(file).hexdigest() for file in archive.files[:SLICES]}
    assert await archive.receipts() == set()
    assert await archive.staged()


async def test_staging_goes_and_receipt_comes_when_index_points_to_pack(archive: Archive) -> None:
    await archive.locate()
    await until(lambda: _has(archive.receipts, SLICES), 30, "receipts")

    async def empty() -> bool:
        return not await archive.staged()

    await until(empty, 30, "staging is empty")


async def test_late_instance_is_packed_when_its_event_was_lost(archive: Archive) -> None:
    await archive.stage(range(SLICES, SLICES + 2), tell=False)
    await until(lambda: _has(archive.packed, SLICES + 2), 60, "packed")
    assert await archive.packed() == archive.digests

    async def one_pack() -> bool:
        await archive.locate()
        return len(await archive.packs()) == 1

    await until(one_pack, 30, "the older pack is gone")
    assert await archive.packed() == archive.digests
    await until(lambda: _has(archive.receipts, SLICES + 2), 30, "receipts")


async def test_mongo_ledger_keeps_contract_when_used(servers: Region) -> None:
    client: Any = servers.client("root")
    outbox = Outbox(client["ledger-contract"])
    ledger = MongoLedger(client, "ledger-contract", outbox, 30)
    await ledger.prepare()

    async def events() -> list[Event]:
        types = {"InstancesStored": InstancesStored, "BatchStored": BatchStored}
        found = await outbox.events.find().sort("$natural", 1).to_list()
        return [types[document["type"]].model_validate_json(document["data"]) for document in found]

    await check_ledger(ledger, events, Study("community", "1.2.3"))


async def _has(read: Any, count: int) -> bool:
    return len(await read()) == count
