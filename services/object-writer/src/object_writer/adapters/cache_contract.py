"""What every `CacheLedger` must do; the same checks run on the fake and on MongoDB."""

import asyncio
from datetime import UTC, datetime, timedelta

from imaging_common.events import BatchStored, HospitalRegistered, InstancesEvicted, StudyHeld
from object_writer.adapters.ledger_contract import Events, Study
from object_writer.eviction import CachedStudy
from object_writer.ports import CacheLedger, Deletions, Ledger
from object_writer.ports.cache_ledger import Idle

HOUR = timedelta(hours=1)
HOSPITAL = "tertiary"


async def check_cache_ledger(cache: CacheLedger, ledger: Ledger, deletions: Deletions, events: Events) -> None:
    """Three studies of one hospital come, are used, pinned, held and evicted; the three share a database."""
    first, second, third = (Study(HOSPITAL, f"1.2.{number}") for number in (1, 2, 3))
    await _check_noting(cache, events, first)
    for study in (second, third):
        await cache.note_batch(*study.cached("r1", 1, 2, 3))
    assert await cache.totals() == {HOSPITAL: 900}
    await _check_order(cache, [first, second, third])
    await _check_needs(cache, ledger, deletions, first)
    await _check_eviction(cache, events, first)
    await _check_redundancy(cache, ledger, second)
    await cache.evict_purged(_id(third))
    assert await cache.totals() == {HOSPITAL: 300}
    await cache.forget_unused(datetime.now(UTC) + HOUR)
    assert await cache.totals() == {HOSPITAL: 300}
    assert await cache.take_turn("evict")
    assert await cache.take_turn("evict")


async def _check_noting(cache: CacheLedger, events: Events, study: Study) -> None:
    batch, key = study.cached("r1", 1, 2)
    assert await cache.known_batches([key]) == set()
    for _ in range(2):
        await cache.note_batch(batch, key)
    await cache.note_batch(*study.cached("r2", 3))
    assert await cache.known_batches([key, "other"]) == {key}
    receipts = [event for event in await events() if isinstance(event, BatchStored)]
    assert [len(receipt.instances) for receipt in receipts] == [2, 2, 1]


async def _next_moment() -> None:
    """Until what happens then is later in the database, too, which keeps milliseconds."""
    began = datetime.now(UTC)
    while datetime.now(UTC) - began < timedelta(milliseconds=2):  # noqa: ASYNC110 (a clock tells nobody)
        await asyncio.sleep(0)


async def _check_order(cache: CacheLedger, studies: list[Study]) -> None:
    """Least recently used first; an old look at a new copy does not make it older, nor does a wrong clock."""
    first, second, third = studies
    await _next_moment()
    now = datetime.now(UTC)
    await _next_moment()
    for study, at in ((second, now), (first, now + HOUR), (third, now - HOUR)):
        await cache.note_opened(study.hospital, study.study_uid, at)
    found = await cache.evictable(HOSPITAL, _all(), 10)
    assert [(one.id, one.size) for one in found] == [(_id(third), 300), (_id(second), 300), (_id(first), 300)]
    assert found[-1].used_at <= datetime.now(UTC)
    assert await cache.evictable(HOSPITAL, _all(), 1) == found[:1]
    assert await cache.evictable("other", _all(), 10) == []
    assert await cache.evictable(HOSPITAL, Idle(now + HOUR, now - HOUR), 10) == []
    unopened = await cache.evictable(HOSPITAL, Idle(now - HOUR / 2, now + HOUR), 10)
    assert [one.id for one in unopened] == [_id(third)]


async def _check_needs(cache: CacheLedger, ledger: Ledger, deletions: Deletions, study: Study) -> None:
    """A pin of any case, a hold on the study, or on the hospital keep a study."""
    uid = study.study_uid
    for case in ("case-1", "case-1", "case-2"):
        await cache.pin(HOSPITAL, uid, case)
    assert not await _goes(cache, study)
    await cache.release(HOSPITAL, uid, "case-1")
    assert not await _goes(cache, study)
    for _ in range(2):
        await cache.release(HOSPITAL, uid, "case-2")
    assert uid in {one.study_uid for one in await cache.evictable(HOSPITAL, _all(), 10)}
    await deletions.order_hold(StudyHeld(study_uid=uid, holder=HOSPITAL, revision=1, held=True, user="u"))
    assert not await _goes(cache, study)
    await deletions.order_hold(StudyHeld(study_uid=uid, holder=HOSPITAL, revision=2, held=False, user="u"))
    policy = HospitalRegistered(
        hospital=HOSPITAL, revision=1, name_zh="", name_en="", level="tertiary", tier="distributed", legal_hold=True
    )
    await ledger.keep_policy(policy)
    assert await cache.evict(_cached(study), _all()) == 0
    await ledger.keep_policy(policy.model_copy(update={"revision": 2, "legal_hold": False}))


async def _goes(cache: CacheLedger, study: Study) -> bool:
    listed = study.study_uid in {one.study_uid for one in await cache.evictable(HOSPITAL, _all(), 10)}
    return listed or await cache.evict(_cached(study), _all()) > 0


async def _check_eviction(cache: CacheLedger, events: Events, study: Study) -> None:
    """Marked and told at once; what is marked never comes back to life, and is listed until it is forgotten."""
    keys = sorted([study.cached("r1", 1, 2)[1], study.cached("r2", 3)[1]])
    now = datetime.now(UTC) - timedelta(seconds=1)
    assert await cache.evict(_cached(study), Idle(now - HOUR, now - HOUR)) == 0
    assert await cache.evict(_cached(study), _all()) == 300
    assert await cache.evict(_cached(study), _all()) == 0
    (told,) = [event for event in await events() if isinstance(event, InstancesEvicted)]
    assert (told.bucket, told.study_uid, sorted(told.manifest_keys)) == ("cache", study.study_uid, keys)
    marked = await cache.evicted(10)
    assert sorted(marked) == keys
    assert all(at > now for at in marked.values())
    await cache.note_batch(*study.cached("r1", 1, 2))
    assert await cache.totals() == {HOSPITAL: 600}
    await cache.note_batch(*study.cached("r3", 1, 2, 3))
    assert await cache.totals() == {HOSPITAL: 900}
    for _ in range(2):
        await cache.forget([*keys, study.cached("r3", 1, 2, 3)[1]])
    assert await cache.evicted(10) == {}
    assert await cache.totals() == {HOSPITAL: 900}


async def _check_redundancy(cache: CacheLedger, ledger: Ledger, study: Study) -> None:
    """Only once the index reads every cached instance from the archive."""
    pack, key = study.pack(1, 2, 3)
    await ledger.note_batch(*study.batch(1, 2, 3))
    await ledger.adopt_pack(pack, key)
    await ledger.note_located(study.located(key, 1, 2))
    assert await cache.redundant(_all(), 10) == []
    await ledger.note_located(study.located(key, 3))
    assert [one.id for one in await cache.redundant(_all(), 10)] == [_id(study)]
    assert await cache.evict(_cached(study), _all()) == 300
    await cache.note_batch(*study.cached("r9", 1))
    assert [one.size for one in await cache.redundant(_all(), 10)] == [100]
    assert await cache.evict(_cached(study), _all()) == 100


def _all() -> Idle:
    later = datetime.now(UTC) + HOUR
    return Idle(later, later)


def _id(study: Study) -> str:
    return f"{study.hospital}/{study.study_uid}"


def _cached(study: Study) -> CachedStudy:
    return CachedStudy(study.hospital, study.study_uid, 0, datetime.now(UTC))
