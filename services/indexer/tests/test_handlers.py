"""Which event leads where, and who is believed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from imaging_common.errors import RejectedError
from imaging_common.events import Envelope, Event, HospitalRegistered, InstancesReceived, InstancesStored
from imaging_common.objects.manifest import write_manifest
from imaging_common.objects.model import Manifest, manifest_key
from imaging_common.objects.store import FakeObjectStore
from imaging_common.testing.metrics import Counted
from indexer.adapters.fake_index import FakeIndex
from indexer.handlers import build_instances_router, build_router
from indexer.usecases.announce_study import AnnounceStudy
from indexer.usecases.command_study import CommandStudy
from indexer.usecases.evict_instances import EvictInstances
from indexer.usecases.index_catalogue import IndexCatalogue
from indexer.usecases.index_manifest import IndexManifest
from indexer.usecases.sweep_objects import IndexObject, SweepObjects
from indexer.usecases.withdraw_study import WithdrawStudy


class Bench:
    """The handlers over fakes."""

    def __init__(self) -> None:
        self.index = FakeIndex()
        self.store = FakeObjectStore()
        self.index_object = IndexObject(self.index, self.store, IndexManifest(self.index, 60))
        self.index_catalogue = IndexCatalogue(self.index, self.store)
        self.router = build_router(
            self.index,
            AnnounceStudy(self.index),
            self.index_catalogue,
            WithdrawStudy(self.index),
            CommandStudy(self.index),
        )
        self.router.include(build_instances_router(self.index_object, EvictInstances(self.index)))

    async def handle(self, topic: str, event: Event) -> None:
        envelope = Envelope(
            id="1", type=event.type_name(), source="/x", time=datetime.now(UTC), topic=topic, key="", traceparent=None
        )
        handler = self.router.find(event.type_name(), topic)
        assert handler is not None
        await handler(event, envelope)

    async def stage(self, manifest: Manifest) -> InstancesReceived:
        bucket = "staging" if manifest.kind == "batch" else "archive"
        await self.store.put(bucket, manifest.data_key, b"")
        await write_manifest(self.store, bucket, manifest)
        return InstancesReceived(
            hospital=manifest.hospital,
            study_uid=manifest.study_uid,
            batch_id=manifest.id,
            manifest_key=manifest_key(manifest.data_key),
            instance_count=len(manifest.instances),
            byte_count=1,
            has_edge=True,
        )


async def test_batch_is_indexed_and_located_when_its_pack_follows(make: Any) -> None:
    bench = Bench()
    visible = Counted("imaging_index_visible_seconds_count", hospital="community", bucket="staging")
    indexed = Counted("imaging_index_instances_total", hospital="community", kind="batch")
    await bench.handle("instances-received", await bench.stage(make.batch([make.instance(1)])))
    assert (visible.grown, indexed.grown) == (1, 1)
    pack = make.pack([make.instance(1)])
    await bench.stage(pack)
    stored = InstancesStored(
        hospital="community",
        study_uid=make.study,
        series_uid=pack.instances[0].series_uid,
        pack_id=pack.id,
        manifest_key=manifest_key(pack.data_key),
        instance_count=1,
    )
    await bench.handle("instances-stored", stored)
    assert [topic for topic, _, _ in bench.index.events] == ["study-changed", "study-changed", "instances-located"]
    assert bench.index.collections["studies"]["community/1.2.3"]["stored"]


async def test_speaker_is_the_topic_when_a_hospital_announces(make: Any) -> None:
    bench = Bench()
    await bench.handle("edge-events-secondary", make.announcement([make.instance(1)]))
    assert list(bench.index.collections["studies"]) == ["secondary/1.2.3"]


async def test_event_is_refused_when_it_names_a_foreign_manifest(make: Any) -> None:
    bench = Bench()
    event = await bench.stage(make.batch([make.instance(1)]))
    with pytest.raises(RejectedError):
        await bench.handle("instances-received", event.model_copy(update={"hospital": "secondary"}))


async def test_event_is_done_when_its_batch_was_archived_and_swept(make: Any) -> None:
    bench = Bench()
    event = await bench.stage(make.batch([make.instance(1)]))
    await bench.store.delete("staging", event.manifest_key)
    await bench.handle("instances-received", event)
    assert bench.index.events == []


async def test_sweep_indexes_what_no_event_told_of(make: Any) -> None:
    bench = Bench()
    await bench.stage(make.batch([make.instance(1)]))
    await bench.stage(make.batch([make.instance(2)]))
    sweep = SweepObjects(bench.index, bench.store, bench.index_object, bench.index_catalogue)
    assert await sweep("staging") == 2
    assert await sweep("staging") == 0
    assert bench.index.collections["studies"]["community/1.2.3"]["instance_count"] == 2


async def test_sweep_goes_on_when_one_manifest_is_none(make: Any) -> None:
    bench = Bench()
    await bench.store.put("staging", "community/1.2.3/broken.json", b"not zstd")
    await bench.stage(make.batch([make.instance(1)]))
    assert await SweepObjects(bench.index, bench.store, bench.index_object, bench.index_catalogue)("staging") == 1


async def test_tier_is_the_latest_registration_when_they_come_in_any_order() -> None:
    bench = Bench()
    for revision, tier in ((2, "distributed"), (1, "central")):
        await bench.handle(
            "hospital-registered",
            HospitalRegistered.model_validate(
                {"hospital": "tertiary", "revision": revision, "name_zh": "市一院", "name_en": "First",
                 "level": "tertiary", "tier": tier}
            ),
        )  # fmt: skip
    assert await bench.index.tier_of("tertiary") == "distributed"
