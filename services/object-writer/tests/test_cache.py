"""The cache tier on fakes: what is noted, what goes first, what never goes, and a kill between mark and removal."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from imaging_common.errors import RejectedError
from imaging_common.events import BatchStored, HospitalRegistered, InstancesEvicted, StudyHeld
from imaging_common.objects.manifest import write_manifest
from imaging_common.objects.store import FakeObjectStore, StoreUnavailable
from object_writer.adapters.cache_contract import check_cache_ledger
from object_writer.adapters.fake_cache_ledger import FakeCacheLedger
from object_writer.adapters.fake_deletions import FakeDeletions
from object_writer.adapters.fake_ledger import FakeLedger
from object_writer.adapters.ledger_contract import Study
from object_writer.eviction import CachedStudy, choose, shares
from object_writer.settings import ObjectWriterSettings
from object_writer.usecases.evict_cache import EvictCache, RemoveEvicted
from object_writer.usecases.note_batch import NoteBatch
from object_writer.usecases.note_cached import NoteCached
from object_writer.usecases.sweep_cache import SweepCache

START = datetime(2026, 1, 1, tzinfo=UTC)
OLD = datetime.now(UTC) - timedelta(days=1)


class Tier:
    """The cache tier with a quota of 1000 bytes: ten instances; eviction at 950, down to 850."""

    def __init__(self, **settings: Any) -> None:
        values = {"cache_bytes": 1000, "cache_arriving_seconds": 0, **settings}
        self.settings = ObjectWriterSettings.model_validate(values)
        self.store, self.ledger = FakeObjectStore(), FakeLedger()
        self.deletions = FakeDeletions(self.ledger)
        self.cache = FakeCacheLedger(self.ledger, self.deletions)
        self.note_cached = NoteCached(self.store, self.cache)
        self.evict = EvictCache(self.settings, self.ledger, self.cache)
        self.remove = RemoveEvicted(self.store, self.cache, self.note_cached)
        self.sweep = SweepCache(self.store, self.cache, self.note_cached, 3600)

    async def bring(self, study: Study, *numbers: int, used_at: datetime | None = None, retrieval: str = "r") -> str:
        """Instances come by a retrieval, or were last used long ago."""
        manifest, key = study.cached(retrieval, *numbers)
        await self.store.put("cache", manifest.data_key, b"x" * 100 * len(numbers))
        await write_manifest(self.store, "cache", manifest)
        await self.note_cached(key)
        if used_at is not None:
            self.cache.studies[f"{study.hospital}/{study.study_uid}"].arrived_at = used_at
        return key

    async def register(self, hospital: str, weight: float = 1.0, *, hold: bool = False) -> None:
        await self.ledger.keep_policy(
            HospitalRegistered(
                hospital=hospital,
                revision=1,
                name_zh="",
                name_en="",
                level="tertiary",
                tier="distributed",
                cache_weight=weight,
                legal_hold=hold,
            )
        )

    async def settle(self) -> None:
        while await self.evict():
            pass
        while await self.remove():
            pass

    def studies(self) -> set[str]:
        """Studies whose bytes lie in the cache tier."""
        return {key.rsplit("/", 1)[0] for bucket, key in self.store.objects if bucket == "cache"}

    def told(self) -> list[InstancesEvicted]:
        return [event for _, event in self.ledger.published if isinstance(event, InstancesEvicted)]


@pytest.fixture
def tier() -> Tier:
    return Tier()


def study(number: int, hospital: str = "tertiary") -> Study:
    return Study(hospital, f"1.2.{number}")


def at(hours: int) -> datetime:
    return OLD + timedelta(hours=hours)


async def test_fake_cache_ledger_keeps_contract_when_used() -> None:
    tier = Tier()

    async def events() -> list[Any]:
        return [event for _, event in tier.ledger.published]

    await check_cache_ledger(tier.cache, tier.ledger, tier.deletions, events)


async def test_least_recently_used_studies_go_when_quota_is_exceeded(tier: Tier) -> None:
    await tier.bring(study(1), 1, 2, 3, used_at=at(3))
    await tier.bring(study(2), 1, 2, 3, used_at=at(1))
    await tier.bring(study(3), 1, 2, 3, used_at=at(2))
    await tier.settle()
    assert len(tier.studies()) == 3
    key = await tier.bring(study(4), 1, used_at=at(4))
    await tier.settle()
    assert tier.studies() == {"tertiary/1.2.1", "tertiary/1.2.3", "tertiary/1.2.4"}
    (event,) = tier.told()
    assert (event.bucket, event.study_uid, len(event.manifest_keys)) == ("cache", "1.2.2", 1)
    assert await tier.cache.totals() == {"tertiary": 700}
    assert await tier.store.exists("cache", key)


async def test_look_saves_a_study_when_others_were_not_looked_at(tier: Tier) -> None:
    for number in (1, 2, 3, 4):
        await tier.bring(study(number), 1, 2, 3, used_at=at(number))
    await tier.cache.note_opened("tertiary", "1.2.1", at(9))
    await tier.settle()
    assert tier.studies() == {"tertiary/1.2.1", "tertiary/1.2.4"}


async def test_nothing_goes_when_all_is_needed(tier: Tier) -> None:
    for number in (1, 2, 3, 4):
        await tier.bring(study(number), 1, 2, 3, used_at=at(number))
    await tier.cache.note_opened("tertiary", "1.2.1", datetime.now(UTC))
    await tier.cache.pin("tertiary", "1.2.2", "case")
    await tier.deletions.order_hold(StudyHeld(study_uid="1.2.3", holder="tertiary", revision=1, held=True, user="u"))
    await tier.cache.pin("tertiary", "1.2.4", "case")
    await tier.settle()
    assert len(tier.studies()) == 4
    assert tier.told() == []
    assert "350 bytes" in tier.evict.detail()
    await tier.cache.release("tertiary", "1.2.4", "case")
    await tier.settle()
    assert tier.studies() == {"tertiary/1.2.1", "tertiary/1.2.2", "tertiary/1.2.3"}
    assert tier.evict.detail() == "within its quota"


async def test_nothing_goes_when_hospital_is_held(tier: Tier) -> None:
    await tier.register("tertiary", hold=True)
    for number in range(11):
        await tier.bring(study(number), 1, used_at=at(number))
    await tier.settle()
    assert len(tier.studies()) == 11


async def test_study_stays_when_it_is_on_its_way() -> None:
    tier = Tier(cache_arriving_seconds=60)
    await tier.bring(study(1), *range(1, 11))
    await tier.settle()
    assert len(tier.studies()) == 1


async def test_hospital_above_its_share_gives_when_quota_is_exceeded(tier: Tier) -> None:
    await tier.register("tertiary", 3.0)
    await tier.register("tcm", 1.0)
    for number in range(6):
        await tier.bring(study(number), 1, used_at=at(number))
        await tier.bring(study(number, "tcm"), 1, used_at=at(number + 10))
    await tier.settle()
    assert await tier.cache.totals() == {"tertiary": 600, "tcm": 200}


async def test_share_of_others_is_used_when_they_do_not_need_it(tier: Tier) -> None:
    await tier.register("tertiary", 1.0)
    await tier.register("tcm", 9.0)
    for number in range(9):
        await tier.bring(study(number), 1, used_at=at(number))
    await tier.settle()
    assert await tier.cache.totals() == {"tertiary": 900}


async def test_redundant_copies_go_first_when_study_is_in_the_archive(tier: Tier) -> None:
    migrated = study(1)
    for number in (1, 2, 3, 4):
        await tier.bring(study(number), 1, 2, 3, used_at=at(9 if number == 1 else number))
    pack, key = migrated.pack(1, 2, 3)
    await tier.ledger.adopt_pack(pack, key)
    await tier.ledger.note_located(migrated.located(key, 1, 2, 3))
    await tier.settle()
    assert tier.studies() == {"tertiary/1.2.3", "tertiary/1.2.4"}
    assert [event.study_uid for event in tier.told()] == ["1.2.1", "1.2.2"]


async def test_originals_stay_when_cache_has_no_room_at_all() -> None:
    """Whatever the quota: staging, archive, reports and catalogues are not the cache ledger's."""
    tier = Tier(cache_bytes=0, orphan_seconds=0)
    central = study(5, "community")
    batch, batch_key = central.batch(1)
    for bucket, manifest in (("staging", batch), ("archive", central.pack(1)[0])):
        await tier.store.put(bucket, manifest.data_key, b"original")
        await write_manifest(tier.store, bucket, manifest)
    await NoteBatch(tier.store, tier.ledger)(batch_key)
    await tier.store.put("archive", "community/reports/k/s.report", b"report")
    await tier.store.put("cache", "tertiary/1.2.1/a.catalogue", b"catalogue")
    originals = dict(tier.store.objects)
    await tier.bring(study(1), 1, 2, used_at=at(1))
    await tier.sweep()
    await tier.settle()
    assert tier.store.objects == originals
    assert {event.bucket for event in tier.told()} == {"cache"}


async def test_removal_goes_on_when_killed_after_the_mark(tier: Tier) -> None:
    for number in range(10):
        await tier.bring(study(number), 1, used_at=at(number))
    await tier.evict()
    assert len(tier.told()) == 2
    assert len(tier.studies()) == 10
    tier.store.fail_with = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await tier.remove()
    tier.store.fail_with = None
    evicted = list(await tier.cache.evicted(10))
    await tier.store.delete("cache", evicted[0])  # the manifest went, its data not yet
    for key in evicted[1:]:
        await tier.note_cached(key)
    await tier.sweep()
    await tier.settle()
    assert len(tier.studies()) == 8
    assert len(tier.told()) == 2


async def test_batch_stays_when_it_is_sent_again_between_mark_and_removal(tier: Tier) -> None:
    """A forward rule's batch has the same key all day."""
    for number in range(10):
        await tier.bring(study(number), 1, used_at=at(number))
    await tier.evict()
    key = await tier.bring(study(0), 1)
    await tier.settle()
    assert await tier.store.exists("cache", key)
    assert len(tier.studies()) == 9
    assert await tier.cache.totals() == {"tertiary": 900}


async def test_nothing_is_done_when_another_copy_has_the_turn(tier: Tier) -> None:
    for number in range(10):
        await tier.bring(study(number), 1, used_at=at(number))
    tier.cache.others_turn = True
    await tier.settle()
    assert tier.told() == []


async def test_edge_gets_receipt_when_batch_is_noted(tier: Tier) -> None:
    await tier.bring(study(1), 1, 2)
    receipts = [event for topic, event in tier.ledger.published if topic == "edge-commands-tertiary"]
    assert [len(event.instances) for event in receipts if isinstance(event, BatchStored)] == [2]
    assert not tier.ledger.series


async def test_manifest_is_refused_when_it_lies_in_another_bucket(tier: Tier) -> None:
    manifest, key = study(1).batch(1)
    await write_manifest(tier.store, "cache", manifest)
    with pytest.raises(RejectedError):
        await tier.note_cached(key)
    cached, key = study(1).cached("r", 1)
    await write_manifest(tier.store, "staging", cached)
    with pytest.raises(RejectedError):
        await NoteBatch(tier.store, tier.ledger)(key)


async def test_sweep_notes_and_tidies_when_events_were_missed(tier: Tier) -> None:
    manifest, key = study(1).cached("r", 1)
    await tier.store.put("cache", manifest.data_key, b"x" * 100)
    await write_manifest(tier.store, "cache", manifest)
    folder = "tertiary/1.2.1"
    names = ("new.catalogue", "old.catalogue", "older.catalogue", "orphan.batch")
    for age, name in enumerate(names):
        await tier.store.put("cache", f"{folder}/{name}", b"x")
        tier.store.modified["cache", f"{folder}/{name}"] = datetime.now(UTC) - timedelta(hours=3 * age)
    await tier.store.put("cache", "tertiary/1.2.2/only.catalogue", b"x")
    tier.store.modified["cache", "tertiary/1.2.2/only.catalogue"] = at(0)
    assert await tier.sweep() == 1
    assert await tier.cache.known_batches([key]) == {key}
    assert await tier.cache.totals() == {"tertiary": 100}
    left = {name for name in names if await tier.store.exists("cache", f"{folder}/{name}")}
    assert left == {"new.catalogue", "old.catalogue", "older.catalogue"}
    tier.store.modified["cache", f"{folder}/new.catalogue"] = datetime.now(UTC) - timedelta(hours=1.5)
    await tier.sweep()
    left = {name for name in names if await tier.store.exists("cache", f"{folder}/{name}")}
    assert left == {"new.catalogue"}
    assert await tier.store.exists("cache", "tertiary/1.2.2/only.catalogue")
    await tier.store.delete("cache", key)
    await tier.note_cached(key)


def test_share_follows_weight_when_quota_is_divided() -> None:
    assert shares(1000, {"a": 3, "b": 1}) == {"a": 750, "b": 250}


def test_all_hospitals_give_when_those_above_their_share_have_nothing_left() -> None:
    a = [CachedStudy("a", f"1.{n}", 100, START + timedelta(hours=n)) for n in range(2)]
    b = [CachedStudy("b", f"2.{n}", 100, START + timedelta(hours=n)) for n in range(2)]
    totals, share = {"a": 800, "b": 200}, {"a": 400.0, "b": 400.0}
    chosen = choose(700, totals, share, [], {"a": a, "b": b})
    assert [one.study_uid for one in chosen] == ["1.0", "1.1", "2.0"]
    assert choose(1000, totals, share, [a[1]], {"a": a, "b": b}) == []
    assert [one.study_uid for one in choose(850, totals, share, [b[1]], {"a": a, "b": b})] == ["2.1", "1.0"]
