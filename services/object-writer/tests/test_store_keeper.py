"""The store keeper on fakes: packs from staged batches, receipts, late and damaged instances, sweeps, the grace."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imaging_common.dicom import check_instance
from imaging_common.errors import RejectedError
from imaging_common.events import (
    BatchStored,
    HospitalRegistered,
    InstancesLocated,
    InstancesStored,
    ManifestEntry,
    StudyCheckRequested,
)
from imaging_common.objects.manifest import read_manifest, write_manifest
from imaging_common.objects.model import Manifest, batch_key, collection_id
from imaging_common.objects.ports import ObjectInfo
from imaging_common.objects.rebuild import rebuild_instance
from imaging_common.objects.store import FakeObjectStore, StoreUnavailable
from imaging_common.testing.metrics import Counted
from imaging_native import ct
from object_writer.adapters.fake_ledger import FakeLedger
from object_writer.adapters.ledger_contract import Study, check_ledger
from object_writer.compress import Work, pack_entries
from object_writer.errors import LeaseLost
from object_writer.model import Source, cut, display_order, groups
from object_writer.settings import ObjectWriterSettings
from object_writer.usecases.adopt_packs import AdoptPacks
from object_writer.usecases.check_study import CheckStudy
from object_writer.usecases.clean_up import CleanUp
from object_writer.usecases.note_batch import NoteBatch
from object_writer.usecases.seal_series import SealSeries
from object_writer.usecases.sweep_archive import RemindIndex, SweepArchive
from object_writer.usecases.sweep_staging import SweepStaging
from object_writer.usecases.write_pack import WritePack


class InlineCompressor:
    async def pack(self, source: Path, target: Path, work: list[Work]) -> list[object]:
        return list(pack_entries(source, target, work))


class Keeper:
    """Everything together."""

    def __init__(self, scratch: Path, series: ct.Series, **settings: object) -> None:
        values = {"seal_quiet_seconds": 0, "scratch_dir": str(scratch), **settings}
        self.settings = ObjectWriterSettings.model_validate(values)
        self.store, self.ledger = FakeObjectStore(), FakeLedger()
        self.note_batch = NoteBatch(self.store, self.ledger)
        adopt = AdoptPacks(self.store, self.ledger)
        write_pack = WritePack(self.store, InlineCompressor(), 1)  # type: ignore[arg-type]
        self.seal = SealSeries(self.settings, self.store, self.ledger, write_pack, adopt)
        self.sweep_staging = SweepStaging(self.store, self.ledger, self.note_batch, 3600)
        self.sweep_archive = SweepArchive(self.store, adopt, 3600)
        self.files = [path.read_bytes() for path in series.files]
        self.study = series.study_uid

    async def stage(self, numbers: Sequence[int], *, has_edge: bool = True) -> str:
        """A batch of these files (1, 2, …) in staging; its manifest's key."""
        instances, position, data = [], 0, b""
        for number in numbers:
            checked = check_instance(self.files[number - 1])
            instances.append(checked.stored(position))
            position += checked.length
            data += self.files[number - 1]
        identity = collection_id([instance.sha256 for instance in instances])
        key = batch_key("community", self.study, identity)
        await self.store.put("staging", key, data)
        manifest = Manifest(
            kind="batch",
            hospital="community",
            study_uid=self.study,
            id=identity,
            data_key=key,
            instances=instances,
            has_edge=has_edge,
        )
        return await write_manifest(self.store, "staging", manifest)

    def stored(self) -> list[InstancesStored]:
        return [event for _, event in self.ledger.published if isinstance(event, InstancesStored)]

    def receipts(self) -> list[BatchStored]:
        return [event for _, event in self.ledger.published if isinstance(event, BatchStored)]

    async def pack(self) -> Manifest:
        return await read_manifest(self.store, "archive", self.stored()[-1].manifest_key)

    async def locate(self) -> None:
        """As the index would."""
        for event in self.stored():
            manifest = await read_manifest(self.store, "archive", event.manifest_key)
            entries = [ManifestEntry(sop_instance_uid=i.sop_instance_uid, sha256=i.sha256) for i in manifest.instances]
            await self.ledger.note_located(
                InstancesLocated(
                    hospital="community", study_uid=self.study, manifest_key=event.manifest_key, instances=entries
                )
            )

    async def rebuilt(self) -> dict[int, bytes]:
        """Instance number → file, of all current packs."""
        found = {}
        for key, pack in self.ledger.packs.items():
            if pack.replaced_at is None:
                manifest = await read_manifest(self.store, "archive", key)
                for i in manifest.instances:
                    found[i.instance_number or 0] = await rebuild_instance(self.store, "archive", manifest.data_key, i)
        return found

    def keys(self, bucket: str) -> list[str]:
        return [key for place, key in self.store.objects if place == bucket]


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> ct.Series:
    return ct.write_series(tmp_path_factory.mktemp("keeper"), slices=6, seed=47)


@pytest.fixture
def keeper(tmp_path: Path, series: ct.Series) -> Keeper:
    return Keeper(tmp_path, series)


async def test_fake_ledger_keeps_contract_when_used() -> None:
    ledger = FakeLedger()

    async def events() -> list[object]:
        return [event for _, event in ledger.published]

    await check_ledger(ledger, events, Study("community", "1.2.3"))  # type: ignore[arg-type]


async def test_pack_gives_files_back_in_display_order_when_sealed(keeper: Keeper) -> None:
    packed = Counted("imaging_archive_instances_total", hospital="community")
    took = Counted("imaging_archive_seal_seconds_count")
    received, stored = (
        Counted("imaging_archive_bytes_total", hospital="community", measure=one) for one in ("received", "stored")
    )
    for numbers in ([3, 1], [2]):
        await keeper.note_batch(await keeper.stage(numbers))
    assert await keeper.seal.seal_next()
    assert not await keeper.seal.seal_next()
    assert (packed.grown, took.grown) == (3, 1)
    assert 0 < stored.grown < received.grown == sum(map(len, keeper.files[:3]))
    pack = await keeper.pack()
    assert [i.instance_number for i in pack.instances] == [1, 2, 3]
    assert {i.encoding for i in pack.instances} == {"htj2k"}
    assert pack.instances[0].header["00200013"]["Value"] == [1]
    assert await keeper.rebuilt() == {n: keeper.files[n - 1] for n in (1, 2, 3)}
    assert keeper.receipts() == []
    await keeper.locate()
    assert [len(receipt.instances) for receipt in keeper.receipts()] == [3]


async def test_nothing_is_packed_when_series_is_not_quiet(tmp_path: Path, series: ct.Series) -> None:
    keeper = Keeper(tmp_path, series, seal_quiet_seconds=60, seal_bytes=1_000_000)
    await keeper.note_batch(await keeper.stage([1]))
    assert not await keeper.seal.seal_next()
    await keeper.note_batch(await keeper.stage([2]))
    assert await keeper.seal.seal_next()


async def test_pack_is_written_anew_when_instances_are_late(keeper: Keeper) -> None:
    await keeper.note_batch(await keeper.stage([1, 3]))
    await keeper.seal.seal_next()
    first = keeper.stored()[-1].manifest_key
    await keeper.note_batch(await keeper.stage([2]))
    await keeper.seal.seal_next()
    pack = await keeper.pack()
    assert [i.instance_number for i in pack.instances] == [1, 2, 3]
    assert pack.replaces == [first]
    assert await keeper.rebuilt() == {n: keeper.files[n - 1] for n in (1, 2, 3)}
    await CleanUp(keeper.store, keeper.ledger, 0)()
    assert await keeper.store.exists("archive", first)
    await keeper.locate()
    await CleanUp(keeper.store, keeper.ledger, 3600)()
    assert await keeper.store.exists("archive", first)
    assert keeper.keys("staging")
    await CleanUp(keeper.store, keeper.ledger, 0)()
    assert len(keeper.keys("archive")) == 2
    assert keeper.keys("staging") == []
    assert await keeper.rebuilt() == {n: keeper.files[n - 1] for n in (1, 2, 3)}


async def test_full_pack_stays_when_instances_are_late(tmp_path: Path, series: ct.Series) -> None:
    keeper = Keeper(tmp_path, series, seal_bytes=1_200_000)
    await keeper.note_batch(await keeper.stage([1, 2, 3, 4, 5]))
    await keeper.seal.seal_next()
    assert [event.instance_count for event in keeper.stored()] == [2, 2, 1]
    await keeper.note_batch(await keeper.stage([6]))
    await keeper.seal.seal_next()
    assert keeper.stored()[-1].instance_count == 2
    assert await keeper.rebuilt() == {n: keeper.files[n - 1] for n in range(1, 7)}


async def test_pixels_stay_when_hospital_keeps_them(keeper: Keeper) -> None:
    await keeper.ledger.keep_policy(
        HospitalRegistered(
            hospital="community",
            revision=1,
            name_zh="",
            name_en="",
            level="community",
            tier="central",
            compression="keep",
        )
    )
    await keeper.note_batch(await keeper.stage([1]))
    await keeper.seal.seal_next()
    pack = await keeper.pack()
    assert await keeper.store.get("archive", pack.data_key) == keeper.files[0]


async def test_other_copy_is_packed_when_one_is_rotten(keeper: Keeper) -> None:
    rotten = await keeper.stage([1, 2])
    data_key = rotten.removesuffix(".json") + ".batch"
    data = bytearray(await keeper.store.get("staging", data_key))
    data[1000] ^= 1
    await keeper.store.put("staging", data_key, bytes(data))
    await keeper.note_batch(rotten)
    await keeper.note_batch(await keeper.stage([1]))
    while await keeper.seal.seal_next():
        pass
    assert await keeper.rebuilt() == {n: keeper.files[n - 1] for n in (1, 2)}


async def test_rest_is_packed_when_an_instance_is_lost(keeper: Keeper) -> None:
    key = await keeper.stage([1, 2])
    data_key = key.removesuffix(".json") + ".batch"
    await keeper.store.put("staging", data_key, (await keeper.store.get("staging", data_key))[:-1])
    await keeper.note_batch(key)
    assert await keeper.seal.seal_next()
    assert not await keeper.seal.seal_next()
    assert await keeper.rebuilt() == {1: keeper.files[0]}
    await keeper.locate()
    await CleanUp(keeper.store, keeper.ledger, 0)()
    assert await keeper.store.exists("staging", key)
    await keeper.note_batch(await keeper.stage([2]))
    assert await keeper.seal.seal_next()
    assert await keeper.rebuilt() == {n: keeper.files[n - 1] for n in (1, 2)}


async def test_packed_instance_is_restored_from_staging_when_pack_is_rotten(keeper: Keeper) -> None:
    await keeper.note_batch(await keeper.stage([1, 2]))
    await keeper.seal.seal_next()
    pack = await keeper.pack()
    data = bytearray(await keeper.store.get("archive", pack.data_key))
    data[pack.instances[1].offset + 50_000] ^= 0xFF
    await keeper.store.put("archive", pack.data_key, bytes(data))
    await keeper.note_batch(await keeper.stage([3]))
    while await keeper.seal.seal_next():
        pass
    assert await keeper.rebuilt() == {n: keeper.files[n - 1] for n in (1, 2, 3)}


async def test_nothing_is_told_when_store_fails(keeper: Keeper) -> None:
    await keeper.note_batch(await keeper.stage([1]))
    keeper.store.fail_with = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await keeper.seal.seal_next()
    assert keeper.stored() == []


async def test_nothing_is_noted_when_lease_is_lost(keeper: Keeper) -> None:
    await keeper.note_batch(await keeper.stage([1]))
    keeper.ledger.lose_lease = True
    with pytest.raises(LeaseLost):
        await keeper.seal.seal_next()
    assert keeper.stored() == []


async def test_pack_is_adopted_when_its_writer_was_killed_before_noting_it(keeper: Keeper) -> None:
    key = await keeper.stage([1, 2])
    await keeper.note_batch(key)
    await keeper.seal.seal_next()
    objects = keeper.keys("archive")
    other = FakeLedger()
    keeper.ledger.__dict__.update(other.__dict__)
    await keeper.note_batch(key)
    assert await keeper.seal.seal_next()
    assert keeper.keys("archive") == objects
    assert len(keeper.stored()) == 1
    assert not await keeper.seal.seal_next()


async def test_batch_is_noted_by_sweep_when_event_was_missed(keeper: Keeper) -> None:
    key = await keeper.stage([1])
    await keeper.store.put("staging", "community/1.2/broken.json", b"no manifest")
    await keeper.store.put("staging", "community/1.2/late.batch", b"no manifest yet")
    assert await keeper.sweep_staging() == 2
    assert key in keeper.ledger.batches
    assert await keeper.store.exists("staging", "community/1.2/late.batch")
    keeper.store.modified["staging", "community/1.2/late.batch"] = datetime.now(UTC) - timedelta(hours=2)
    await keeper.sweep_staging()
    assert not await keeper.store.exists("staging", "community/1.2/late.batch")
    assert await keeper.store.exists("staging", key.removesuffix(".json") + ".batch")


async def test_archive_is_swept_when_ledger_is_new(keeper: Keeper) -> None:
    await keeper.note_batch(await keeper.stage([1]))
    await keeper.seal.seal_next()
    await keeper.store.put("archive", "community/1.2/1.3/half.pack", b"half")
    keeper.store.modified["archive", "community/1.2/1.3/half.pack"] = datetime.now(UTC) - timedelta(hours=2)
    keeper.ledger.__dict__.update(FakeLedger().__dict__)
    assert await keeper.sweep_archive() == 1
    assert len(keeper.stored()) == 1
    assert len(keeper.keys("archive")) == 2


async def test_batch_that_arrives_during_a_check_is_not_taken_for_lost(keeper: Keeper) -> None:
    class Busy(FakeObjectStore):
        async def list(self, bucket: str, prefix: str) -> AsyncIterator[ObjectInfo]:
            async for entry in keeper.store.list(bucket, prefix):
                yield entry
            if bucket == "staging":
                await keeper.note_batch(await keeper.stage([1]))

    event = StudyCheckRequested(study_uid=keeper.study, holder="community", user="operator.region")
    await CheckStudy(Busy(), keeper.ledger, AdoptPacks(keeper.store, keeper.ledger))(event)
    assert len(keeper.ledger.batches) == 1


async def test_index_is_reminded_when_it_does_not_answer(keeper: Keeper) -> None:
    await keeper.note_batch(await keeper.stage([1]))
    await keeper.seal.seal_next()
    assert await RemindIndex(keeper.ledger, 3600)() == 0
    assert await RemindIndex(keeper.ledger, -1)() == 1
    assert len(keeper.stored()) == 2
    await keeper.locate()
    assert await RemindIndex(keeper.ledger, -1)() == 0


async def test_no_receipt_is_sent_when_sender_has_no_edge(keeper: Keeper) -> None:
    await keeper.note_batch(await keeper.stage([1], has_edge=False))
    await keeper.seal.seal_next()
    await keeper.locate()
    assert keeper.receipts() == []


async def test_receipt_is_sent_again_when_batch_comes_again(keeper: Keeper) -> None:
    key = await keeper.stage([1])
    await keeper.note_batch(key)
    await keeper.seal.seal_next()
    await keeper.locate()
    await keeper.note_batch(key)
    assert len(keeper.receipts()) == 2
    assert not await keeper.seal.seal_next()


async def test_manifest_is_refused_when_it_lies_elsewhere(keeper: Keeper) -> None:
    key = await keeper.stage([1])
    foreign = key.replace("community/", "secondary/")
    await keeper.store.put("staging", foreign, await keeper.store.get("staging", key))
    with pytest.raises(RejectedError):
        await keeper.note_batch(foreign)


def test_packs_are_cut_in_order_when_series_is_long(series: ct.Series) -> None:
    sources = [Source("staging", "k", check_instance(path).stored(0)) for path in series.files]
    ordered = sorted(reversed(sources), key=display_order)
    assert [s.instance.instance_number for s in ordered] == [1, 2, 3, 4, 5, 6]
    assert [len(pack) for pack in cut(ordered, 1_200_000, 100)] == [2, 2, 2]
    assert [len(pack) for pack in cut(ordered, 10, 100)] == [1] * 6
    assert [len(pack) for pack in cut(ordered, 10**9, 4)] == [4, 2]
    assert [len(group) for group in groups(ordered, 10**9, 5)] == [5, 1]
    assert hashlib.sha256(series.files[0].read_bytes()).hexdigest() == ordered[0].instance.sha256
