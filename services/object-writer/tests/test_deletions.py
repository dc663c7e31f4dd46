"""Deletion, restoration and hold on fakes: nothing goes before its time, then all does; what comes again stays."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from imaging_common.events import (
    Envelope,
    Event,
    InstancesEvicted,
    StudyDeletionRequested,
    StudyHeld,
    StudyRestored,
)
from imaging_common.objects.manifest import write_manifest
from imaging_common.objects.store import FakeObjectStore
from object_writer.adapters.deletions_contract import check_deletions
from object_writer.adapters.fake_cache_ledger import FakeCacheLedger
from object_writer.adapters.fake_deletions import FakeDeletions
from object_writer.adapters.fake_ledger import FakeLedger
from object_writer.adapters.ledger_contract import Study
from object_writer.handlers import build_router
from object_writer.usecases.adopt_packs import AdoptPacks
from object_writer.usecases.evict_cache import RemoveEvicted
from object_writer.usecases.note_batch import NoteBatch
from object_writer.usecases.note_cached import NoteCached
from object_writer.usecases.purge_deleted import PurgeDeleted, RemovePurged
from object_writer.usecases.sweep_archive import SweepArchive

PAST, FUTURE = datetime(2026, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=30)


class Store:
    """A study with a pack, a staged batch, a cached copy and a catalogue; another one beside it."""

    def __init__(self) -> None:
        self.objects, self.ledger = FakeObjectStore(), FakeLedger()
        self.deletions = FakeDeletions(self.ledger)
        self.cache = FakeCacheLedger(self.ledger, self.deletions)
        self.note_batch = NoteBatch(self.objects, self.ledger)
        note_cached = NoteCached(self.objects, self.cache)
        self.router = build_router(self.note_batch, note_cached, self.ledger, self.cache, self.deletions)
        self.purge = PurgeDeleted(self.objects, self.deletions, self.cache)
        self.remove = RemovePurged(self.objects, self.ledger, self.deletions)
        self.remove_evicted = RemoveEvicted(self.objects, self.cache, note_cached)
        self.study, self.other = Study("community", "1.2.3"), Study("community", "1.2.33")

    async def fill(self) -> None:
        for study in (self.study, self.other):
            pack, pack_key = study.pack(1, 2)
            await self._write("archive", pack)
            await self.ledger.adopt_pack(pack, pack_key)
            await self.stage(study, 3)
            cached, cached_key = study.cached("r", 1)
            await self._write("cache", cached)
            await self.cache.note_batch(cached, cached_key)
            await self.objects.put("cache", f"{study.hospital}/{study.study_uid}/c.catalogue", b"c")
        await self.objects.put("archive", "community/reports/k/s.report", b"report")
        await self.objects.put("archive", "community/reports/k/s.json", b"facts")

    async def stage(self, study: Study, number: int) -> str:
        batch, key = study.batch(number)
        await self._write("staging", batch)
        await self.note_batch(key)
        return key

    async def _write(self, bucket: str, manifest: Any) -> None:
        await self.objects.put(bucket, manifest.data_key, b"x")
        await write_manifest(self.objects, bucket, manifest)

    async def tell(self, event: Event) -> None:
        """As the topic would."""
        envelope = Envelope(id="1", type=event.type_name(), source="gateway", time=PAST, topic="study-commanded")
        handler = self.router.find(event.type_name(), "study-commanded")
        assert handler is not None
        await handler(event, envelope)

    async def settle(self) -> None:
        await self.purge()
        while await self.remove() or await self.remove_evicted():
            pass

    def of(self, study: Study) -> set[tuple[str, str]]:
        prefix = f"{study.hospital}/{study.study_uid}/"
        return {(bucket, key) for bucket, key in self.objects.objects if key.startswith(prefix)}

    def told(self) -> list[InstancesEvicted]:
        return [event for _, event in self.ledger.published if isinstance(event, InstancesEvicted)]


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.fill()
    return store


def deletion(revision: int = 1, purge_after: datetime = PAST) -> StudyDeletionRequested:
    return StudyDeletionRequested(
        study_uid="1.2.3",
        holder="community",
        revision=revision,
        reason="113039",
        user="operator",
        purge_after=purge_after,
    )


def restoration(revision: int) -> StudyRestored:
    return StudyRestored(study_uid="1.2.3", holder="community", revision=revision, user="operator")


def hold(revision: int, *, held: bool) -> StudyHeld:
    return StudyHeld(study_uid="1.2.3", holder="community", revision=revision, held=held, user="operator")


async def test_fake_deletions_keep_contract_when_used() -> None:
    ledger = FakeLedger()

    async def events() -> list[Any]:
        return [event for _, event in ledger.published]

    await check_deletions(FakeDeletions(ledger), ledger, events)


async def test_all_objects_go_when_retention_is_over(store: Store) -> None:
    others, reports = store.of(store.other), {k for k in store.objects.objects if "/reports/" in k[1]}
    await store.tell(deletion())
    await store.settle()
    assert store.of(store.study) == set()
    assert store.of(store.other) == others
    assert reports <= store.objects.objects.keys()
    assert {(event.bucket, len(event.manifest_keys)) for event in store.told()} == {
        ("archive", 1),
        ("staging", 1),
        ("cache", 1),
    }
    await store.settle()
    assert len(store.told()) == 3


@pytest.mark.parametrize(
    "orders",
    [
        [deletion(1, FUTURE)],
        [deletion(1), restoration(2)],
        [restoration(2), deletion(1)],
        [deletion(1), hold(2, held=True)],
        [hold(2, held=True), deletion(1), hold(1, held=False)],
        [deletion(1), deletion(2, FUTURE), deletion(1)],
        [restoration(1), hold(2, held=False)],
    ],
)
async def test_everything_stays_when_the_last_word_is_not_to_delete(store: Store, orders: list[Event]) -> None:
    before = dict(store.objects.objects)
    for event in orders:
        await store.tell(event)
        await store.tell(event)
    await store.settle()
    assert store.objects.objects == before
    assert store.told() == []


async def test_study_goes_when_hold_is_lifted(store: Store) -> None:
    for event in (deletion(1), hold(2, held=True)):
        await store.tell(event)
    await store.settle()
    assert store.of(store.study)
    await store.tell(hold(3, held=False))
    await store.settle()
    assert store.of(store.study) == set()


async def test_removal_goes_on_when_killed_after_the_mark(store: Store) -> None:
    await store.tell(deletion())
    assert await store.deletions.purge("community/1.2.3")
    assert len(store.of(store.study)) == 7
    await store.settle()
    assert store.of(store.study) == set()
    assert len(store.told()) == 3


async def test_instances_stay_when_they_came_after_the_deletion(store: Store) -> None:
    await store.tell(deletion())
    key = await store.stage(store.study, 4)
    await store.settle()
    assert store.of(store.study) == {("staging", key), ("staging", key.replace(".json", ".batch"))}
    assert len((await store.ledger.pending(store.study.series)).names) == 1


async def test_instances_stay_when_they_are_sent_again_between_mark_and_removal(store: Store) -> None:
    await store.tell(deletion())
    await store.purge()
    key = await store.stage(store.study, 3)
    while await store.remove() or await store.remove_evicted():
        pass
    await store.note_batch(key)  # the sweep's part
    assert store.of(store.study) == {("staging", key), ("staging", key.replace(".json", ".batch"))}
    assert len((await store.ledger.pending(store.study.series)).names) == 1


async def test_reports_are_passed_over_when_archive_is_swept(store: Store) -> None:
    for key in ("s.report", "s.json", "half.report"):
        await store.objects.put("archive", f"community/reports/k/{key}", b"x")
        store.objects.modified["archive", f"community/reports/k/{key}"] = PAST
    sweep = SweepArchive(store.objects, AdoptPacks(store.objects, store.ledger), 3600)
    assert await sweep() == 0
    assert len([key for _, key in store.objects.objects if "/reports/" in key]) == 3
