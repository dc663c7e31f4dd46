"""The cache tier and deletions on real servers: ledgers on MongoDB, eviction by the store keeper's process."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from dicom_ingest.model import Accepted, Sender
from dicom_ingest.usecases.store_instances import StoreInstances
from imaging_common.audit import AuditTrail
from imaging_common.events import (
    AuditRecorded,
    BatchStored,
    Event,
    InstancesEvicted,
    InstancesStored,
    StudyDeletionRequested,
    StudyPinned,
    StudyReleased,
)
from imaging_common.messaging import FakePublisher, KafkaPublisher
from imaging_common.messaging.cloudevents import read_envelope, read_event
from imaging_common.messaging.outbox import Outbox
from imaging_common.objects.store import MinioObjectStore
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import read_all
from imaging_common.testing.waiting import until
from imaging_native import ct
from imaging_native.process import LocalProcess, free_port, http_ready
from imaging_native.region import Region
from object_writer.adapters.cache_contract import check_cache_ledger
from object_writer.adapters.deletions_contract import check_deletions
from object_writer.adapters.ledger_contract import Events
from object_writer.adapters.mongo_cache_ledger import MongoCacheLedger
from object_writer.adapters.mongo_deletions import MongoDeletions
from object_writer.adapters.mongo_ledger import MongoLedger

SLICES = 4
TYPES: dict[str, type[Event]] = {
    "InstancesStored": InstancesStored,
    "InstancesEvicted": InstancesEvicted,
    "BatchStored": BatchStored,
    "AuditRecorded": AuditRecorded,
}


async def ledgers(servers: Region, name: str) -> tuple[MongoLedger, MongoCacheLedger, MongoDeletions, Events]:
    """The three on a database of their own, and all events so far."""
    client: Any = servers.client("root")
    outbox = Outbox(client[name])
    found = (
        MongoLedger(client, name, outbox, 30),
        MongoCacheLedger(client, name, outbox, 30),
        MongoDeletions(client, name, outbox),
    )
    for one in found:
        await one.prepare()

    async def events() -> list[Event]:
        documents = await outbox.events.find().sort("$natural", 1).to_list()
        return [TYPES[document["type"]].model_validate_json(document["data"]) for document in documents]

    return *found, events


async def test_mongo_cache_ledger_keeps_contract_when_used(servers: Region) -> None:
    ledger, cache, deletions, events = await ledgers(servers, "cache-contract")
    await check_cache_ledger(cache, ledger, deletions, events)
    client: Any = servers.client("root")
    other = MongoCacheLedger(client, "cache-contract", Outbox(client["cache-contract"]), 30)
    assert not await other.take_turn("evict")
    assert await other.take_turn("purge")


async def test_mongo_deletions_keep_contract_when_used(servers: Region) -> None:
    ledger, _, deletions, events = await ledgers(servers, "deletions-contract")
    await check_deletions(deletions, ledger, events)


def settings_of(region: Region, principal: str) -> ServiceSettings:
    """A service's settings: its Kafka user, and all rights on the stores."""
    state = region.state
    return ServiceSettings(
        kafka_bootstrap=state["kafka"]["bootstrap"],
        kafka_username=principal,
        kafka_password=SecretStr(state["kafka"]["users"][principal]),
        minio_endpoint=state["minio"]["endpoint"],
        minio_access_key=state["minio"]["access_key"],
        minio_secret_key=SecretStr(state["minio"]["secret_key"]),
    )


class Tier:
    """The writer's process with room for a study and a half, and the test in the place of ingest and gateway."""

    def __init__(self, region: Region, folder: Path) -> None:
        self.region, self._folder = region, folder
        self.series = [ct.write_series(folder / f"ct-{n}", slices=SLICES, seed=600 + n) for n in range(3)]
        self.store = MinioObjectStore(settings_of(region, "dicom-ingest"))
        self.ingest = KafkaPublisher("dicom-ingest", settings_of(region, "dicom-ingest"))
        self.gateway = KafkaPublisher("gateway", settings_of(region, "gateway"))
        port = free_port()
        size = sum(path.stat().st_size for path in self.series[0].files)
        environment = {
            f"OBJECT_WRITER_{name.upper()}": value for name, value in self._values(port, int(size * 1.5)).items()
        }
        ready = http_ready(f"http://127.0.0.1:{port}/health/ready")
        self.process = LocalProcess(
            "object-writer", [sys.executable, "-m", "object_writer"], environment, folder, ready
        )

    def _values(self, port: int, quota: int) -> dict[str, str]:
        settings = settings_of(self.region, "object-writer")
        access, secret = self.region.minio.credentials["object-writer"]
        return {
            "http_port": str(port),
            "kafka_bootstrap": settings.kafka_bootstrap,
            "kafka_username": settings.kafka_username,
            "kafka_password": settings.kafka_password.get_secret_value(),
            "mongo_url": self.region.state["mongo"]["urls"]["object-writer"],
            "minio_endpoint": settings.minio_endpoint,
            "minio_access_key": access,
            "minio_secret_key": secret,
            "seal_quiet_seconds": "0.2",
            "sweep_seconds": "0.5",
            "lease_seconds": "2",
            "cache_bytes": str(quota),
            "cache_seconds": "0.2",
            "cache_in_use_seconds": "0",
            "cache_arriving_seconds": "0",
            "purge_seconds": "0.2",
        }

    async def bring(self, number: int, retrieval: str | None) -> None:
        """A study comes: by a retrieval into the cache tier, else as an original."""
        data = [path.read_bytes() for path in self.series[number].files]
        parts, position = [], 0
        for one in data:
            parts.append((position, len(one)))
            position += len(one)
        store = StoreInstances(self.store, self.ingest, AuditTrail("dicom-ingest", FakePublisher()))
        sender = Sender("edge-tertiary", "tertiary", has_edge=True)
        outcomes = await store(sender, b"".join(data), parts, None, retrieval)
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)

    async def objects(self, bucket: str, number: int) -> int:
        prefix = f"tertiary/{self.series[number].study_uid}/"
        return len([entry async for entry in self.store.list(bucket, prefix)])

    async def told(self, number: int) -> list[InstancesEvicted]:
        records = await read_all(settings_of(self.region, "indexer"), "instances-stored")
        events = [read_event(record, read_envelope(record)) for record in records]
        uid = self.series[number].study_uid
        return [event for event in events if isinstance(event, InstancesEvicted) and event.study_uid == uid]


@pytest.fixture(scope="module")
async def tier(servers: Region, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tier]:
    tier = await asyncio.to_thread(Tier, servers, tmp_path_factory.mktemp("tier"))
    await tier.process.start()
    try:
        yield tier
    finally:
        await tier.process.stop()
        for publisher in (tier.ingest, tier.gateway):
            with contextlib.suppress(Exception):
                await publisher.stop()


async def test_oldest_study_leaves_the_cache_when_quota_is_exceeded(tier: Tier) -> None:
    """The pinned one stays; what waits when the process is killed goes after its start; originals are not touched."""
    first = tier.series[0].study_uid
    await tier.gateway.publish("study-used", StudyPinned(study_uid=first, holder="tertiary", case_id="case"), first)
    await tier.bring(2, None)
    await tier.bring(0, uuid4().hex)
    await tier.bring(1, uuid4().hex)

    async def second_is_gone() -> bool:
        return await tier.objects("cache", 1) == 0

    await until(second_is_gone, 30, "the study that is not pinned is evicted")
    assert await tier.objects("cache", 0) == 2
    tier.process.kill()
    await tier.gateway.publish("study-used", StudyReleased(study_uid=first, holder="tertiary", case_id="case"), first)
    await tier.bring(1, uuid4().hex)
    await tier.process.start()

    async def one_is_left() -> bool:
        return await tier.objects("cache", 0) + await tier.objects("cache", 1) == 2

    await until(one_is_left, 30, "one study is left in the cache")
    (event, *_) = await tier.told(1)
    assert (event.bucket, event.hospital) == ("cache", "tertiary")

    async def packed() -> bool:
        return await tier.objects("archive", 2) >= 2

    await until(packed, 30, "the original is packed")
    assert await tier.told(2) == []


async def test_study_leaves_the_archive_when_its_deletion_is_due(tier: Tier) -> None:
    uid = tier.series[2].study_uid
    event = StudyDeletionRequested(
        study_uid=uid,
        holder="tertiary",
        revision=1,
        reason="113039",
        user="operator",
        purge_after=datetime.now(UTC) - timedelta(seconds=1),
    )
    await tier.gateway.publish("study-commanded", event, uid)

    async def gone() -> bool:
        return await tier.objects("archive", 2) + await tier.objects("staging", 2) == 0

    await until(gone, 30, "the study is purged")

    async def told() -> bool:
        return {event.bucket for event in await tier.told(2)} == {"archive", "staging"}

    await until(told, 30, "the index is told")
