"""What every `Ledger` must do; the same checks run on the fake and on MongoDB."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from imaging_common.events import (
    BatchStored,
    Event,
    HospitalRegistered,
    InstancesLocated,
    InstancesStored,
    ManifestEntry,
)
from imaging_common.objects.model import Manifest, StoredInstance, batch_key, collection_id, manifest_key, pack_key
from object_writer.model import series_id
from object_writer.ports import Ledger, Policy

Events = Callable[[], Awaitable[list[Event]]]
"""All events so far."""
FAR = timedelta(days=1)
LIMIT = 10**9


class Study:
    """Makes manifests of one study, without bytes."""

    def __init__(self, hospital: str, study_uid: str) -> None:
        self.hospital, self.study_uid = hospital, study_uid
        self.series = series_id(hospital, study_uid, f"{study_uid}.1")

    def instance(self, number: int) -> StoredInstance:
        """An instance of the only series."""
        return StoredInstance(
            sop_instance_uid=f"{self.study_uid}.1.{number}",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            series_uid=f"{self.study_uid}.1",
            instance_number=number,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            sha256=hashlib.sha256(f"{self.study_uid}/{number}".encode()).hexdigest(),
            original_length=100,
            offset=0,
            length=100,
            header={},
        )

    def batch(self, *numbers: int, has_edge: bool = True) -> tuple[Manifest, str]:
        """A staged batch's manifest and its key."""
        instances = [self.instance(number) for number in numbers]
        identity = collection_id([instance.sha256 for instance in instances])
        key = batch_key(self.hospital, self.study_uid, identity)
        manifest = Manifest(
            kind="batch",
            hospital=self.hospital,
            study_uid=self.study_uid,
            id=identity,
            data_key=key,
            instances=instances,
            has_edge=has_edge,
        )
        return manifest, manifest_key(key)

    def cached(self, retrieval: str, *numbers: int) -> tuple[Manifest, str]:
        """A cached batch's manifest and its key."""
        batch, _ = self.batch(*numbers)
        identity = collection_id([retrieval, *(instance.sha256 for instance in batch.instances)])
        key = batch_key(self.hospital, self.study_uid, identity)
        return batch.model_copy(update={"bucket": "cache", "id": identity, "data_key": key}), manifest_key(key)

    def pack(self, *numbers: int, replaces: list[str] | None = None) -> tuple[Manifest, str]:
        """A pack's manifest and its key."""
        batch, _ = self.batch(*numbers)
        key = pack_key(self.hospital, self.study_uid, f"{self.study_uid}.1", batch.id)
        update = {"kind": "pack", "bucket": "archive", "data_key": key, "replaces": replaces or []}
        return batch.model_copy(update=update), manifest_key(key)

    def located(self, key: str, *numbers: int) -> InstancesLocated:
        """The index reads these from the pack."""
        entries = [
            ManifestEntry(sop_instance_uid=i.sop_instance_uid, sha256=i.sha256) for i in map(self.instance, numbers)
        ]
        return InstancesLocated(hospital=self.hospital, study_uid=self.study_uid, manifest_key=key, instances=entries)


async def check_ledger(ledger: Ledger, events: Events, study: Study) -> None:
    """One study's way from staging into packs; nobody else may use the ledger meanwhile."""
    (first, first_key), (late, late_key) = study.batch(1, 2), study.batch(3)
    await _check_noting(ledger, first, first_key, study)
    pack, pack_key_ = study.pack(1, 2)
    await _check_packing(ledger, events, study, pack, pack_key_)
    await _check_receipts(ledger, events, study, (first, first_key), pack_key_)
    await ledger.note_batch(late, late_key)
    assert {name[0] for name in (await ledger.pending(study.series)).names} == {f"{study.study_uid}.1.3"}
    newer, newer_key = study.pack(1, 2, 3, replaces=[pack_key_])
    due = await ledger.take_series(_later(), LIMIT)
    assert due is not None
    await ledger.note_pack(newer, newer_key)
    await ledger.release_series(study.series, failed=False)
    assert [record.manifest_key for record in await ledger.packs_of(study.series)] == [newer_key]
    assert await ledger.removable_packs(_later()) == []
    await ledger.note_located(study.located(newer_key, 1, 2, 3))
    assert await ledger.removable_packs(_earlier()) == []
    assert await ledger.removable_packs(_later()) == [pack_key_]
    assert sorted(await ledger.removable_batches(_later())) == sorted([first_key, late_key])
    for key in (pack_key_, first_key, late_key):
        await ledger.forget(key)
    assert await ledger.removable_packs(_later()) == []
    assert await ledger.removable_batches(_later()) == []
    await _check_loss(ledger, study)


async def _check_noting(ledger: Ledger, batch: Manifest, key: str, study: Study) -> None:
    assert await ledger.known_batches([key]) == set()
    for _ in range(2):
        await ledger.note_batch(batch, key)
    assert await ledger.known_batches([key, "other"]) == {key}
    assert await ledger.take_series(_earlier(), LIMIT) is None
    pending = await ledger.pending(study.series)
    assert (len(pending.names), pending.batches) == (2, [key])


async def _check_packing(ledger: Ledger, events: Events, study: Study, pack: Manifest, key: str) -> None:
    due = await ledger.take_series(_earlier(), 200)
    assert due is not None
    assert due.id == study.series
    assert await ledger.take_series(_later(), LIMIT) is None
    await ledger.renew(study.series)
    await ledger.note_pack(pack, key)
    await ledger.release_series(study.series, failed=False)
    assert await ledger.take_series(_later(), LIMIT) is None
    assert await ledger.known_packs([key, "other"]) == {key}
    assert [type(event) for event in await events()] == [InstancesStored]
    assert await ledger.remind(_earlier()) == 0
    assert await ledger.remind(_later()) == 1
    assert len(await events()) == 2
    await ledger.adopt_pack(pack, key)


async def _check_receipts(ledger: Ledger, events: Events, study: Study, batch: tuple[Manifest, str], pack: str) -> None:
    for _ in range(2):
        await ledger.note_located(study.located(pack, 1))
    assert await ledger.removable_batches(_later()) == []
    await ledger.note_located(study.located(pack, 2))
    receipts = [event for event in await events() if isinstance(event, BatchStored)]
    assert [[e.sop_instance_uid[-1] for e in receipt.instances] for receipt in receipts] == [["1"], ["2"]]
    assert await ledger.removable_batches(_earlier()) == []
    assert await ledger.removable_batches(_later()) == [batch[1]]
    assert await ledger.remind(_later()) == 0
    await ledger.note_batch(*batch)
    receipts = [event for event in await events() if isinstance(event, BatchStored)]
    assert len(receipts[-1].instances) == 2


async def _check_loss(ledger: Ledger, study: Study) -> None:
    """A copy that cannot be read makes way for another; the last one is lost until it is sent again."""
    (one, one_key), (two, two_key) = study.batch(7), study.batch(7, 8)
    await ledger.note_batch(one, one_key)
    await ledger.note_batch(two, two_key)
    due = await ledger.take_series(_later(), LIMIT)
    assert due is not None
    instance = study.instance(7)
    name = (instance.sop_instance_uid, instance.sha256)
    assert not await ledger.note_damaged(study.series, name, one_key)
    assert name in (await ledger.pending(study.series)).names
    assert await ledger.note_damaged(study.series, name, two_key)
    assert name not in (await ledger.pending(study.series)).names
    await ledger.release_series(study.series, failed=True)
    assert await ledger.take_series(_later(), LIMIT) is None
    again, again_key = study.batch(8, 7)
    await ledger.note_batch(again, again_key)
    assert name in (await ledger.pending(study.series)).names
    await _check_pack_lost(ledger, study)
    await _check_policies(ledger, study.hospital)


async def _check_pack_lost(ledger: Ledger, study: Study) -> None:
    """A pack that is not in the archive: what staging has waits to be packed again, the rest to be sent again."""
    study_id = f"{study.hospital}/{study.study_uid}"
    packs = await ledger.packs_of_study(study_id)
    (newest,) = [record.manifest_key for record in await ledger.packs_of(study.series)]
    assert newest in packs
    staged = await ledger.batches_of_study(study_id)
    assert staged
    assert await ledger.known_batches(staged) == set(staged)
    assert await ledger.packs_of_study(f"{study_id}9") == []
    for _ in range(2):
        await ledger.note_pack_lost(newest)
    assert newest not in await ledger.packs_of_study(study_id)
    assert await ledger.packs_of(study.series) == []
    waiting = {uid.rsplit(".", 1)[1] for uid, _ in (await ledger.pending(study.series)).names}
    assert {"1", "2", "3"} <= waiting


async def _check_policies(ledger: Ledger, hospital: str) -> None:
    first = HospitalRegistered(
        hospital=hospital, revision=1, name_zh="", name_en="", level="community", tier="distributed"
    )
    second = first.model_copy(
        update={"revision": 2, "tier": "central", "compression": "keep", "cache_weight": 2.5, "legal_hold": True}
    )
    for event in (second, first, second):
        await ledger.keep_policy(event)
    assert await ledger.policies() == {hospital: Policy("central", "keep", 2.5, 30, legal_hold=True)}


def _later() -> datetime:
    return datetime.now(UTC) + FAR


def _earlier() -> datetime:
    return datetime.now(UTC) - FAR
