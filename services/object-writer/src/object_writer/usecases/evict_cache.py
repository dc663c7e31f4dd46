"""Keeps the cache tier within its quota: marks what goes and tells so, then removes it. Touches no other bucket."""

from datetime import UTC, datetime, timedelta

from prometheus_client import Counter, Gauge

from imaging_common.objects.model import CACHE_BUCKET
from imaging_common.objects.store import ObjectStore
from imaging_common.telemetry import get_logger
from object_writer.eviction import CachedStudy, choose, shares
from object_writer.ports import CacheLedger, Ledger, Policy
from object_writer.ports.cache_ledger import Idle
from object_writer.settings import ObjectWriterSettings
from object_writer.usecases.note_cached import NoteCached
from object_writer.usecases.sweep_staging import REMOVED
from object_writer.usecases.written import written_at

PAGE = 200
BYTES = Gauge("imaging_cache_bytes", "Bytes of copies in the cache tier", ["hospital"])
QUOTA = Gauge("imaging_cache_quota_bytes", "The cache tier's quota")
STUCK = Gauge("imaging_cache_stuck_bytes", "Bytes above the mark of which nothing may be evicted")
EVICTED = Counter("imaging_cache_evicted_studies", "Studies whose copies left the cache tier", ["hospital"])
EVICTED_BYTES = Counter("imaging_cache_evicted_bytes", "Bytes of those copies", ["hospital"])
log = get_logger(__name__)


class EvictCache:
    """From the high mark down to the low one, so that it does not go study by study."""

    def __init__(self, settings: ObjectWriterSettings, ledger: Ledger, cache: CacheLedger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._cache = cache
        self._stuck = 0.0
        self._shown: set[str] = set()

    def detail(self) -> str:
        """For `/health/ready`: how the cache tier is."""
        if not self._stuck:
            return "within its quota"
        return f"{self._stuck:.0f} bytes above its mark: all is in use, pinned or held; raise CACHE_BYTES"

    async def __call__(self) -> bool:
        """Evict what is above the quota; whether there may be more to do at once."""
        totals = await self._cache.totals()
        self._show(totals)
        if sum(totals.values()) <= self._settings.cache_bytes * self._settings.cache_high:
            self._settle(0.0)
            return False
        if not await self._cache.take_turn("evict"):
            return False
        target = self._settings.cache_bytes * self._settings.cache_low
        chosen = await self._choose(totals, target)
        freed = sum([await self._evict(study) for study in chosen])
        left = sum(totals.values()) - freed
        self._settle(left - target if not freed else 0.0)
        return bool(freed) and left > target

    async def _choose(self, totals: dict[str, int], target: float) -> list[CachedStudy]:
        policies = await self._ledger.policies()
        idle = self._idle()
        candidates = {
            hospital: await self._cache.evictable(hospital, idle, PAGE)
            for hospital in totals
            if not policies.get(hospital, Policy()).legal_hold
        }
        redundant = [study for study in await self._cache.redundant(idle, PAGE) if study.hospital in candidates]
        claims = {h for h, policy in policies.items() if policy.tier == "distributed"} | totals.keys()
        weights = {hospital: policies.get(hospital, Policy()).cache_weight for hospital in claims}
        return choose(target, totals, shares(target, weights), redundant, candidates)

    def _idle(self) -> Idle:
        now = datetime.now(UTC)
        return Idle(
            opened_before=now - timedelta(seconds=self._settings.cache_in_use_seconds),
            arrived_before=now - timedelta(seconds=self._settings.cache_arriving_seconds),
        )

    async def _evict(self, study: CachedStudy) -> int:
        size = await self._cache.evict(study, self._idle())
        if size:
            EVICTED.labels(study.hospital).inc()
            EVICTED_BYTES.labels(study.hospital).inc(size)
            log.info("study evicted from the cache tier", hospital=study.hospital, bytes=size)
        return size

    def _show(self, totals: dict[str, int]) -> None:
        QUOTA.set(self._settings.cache_bytes)
        self._shown |= totals.keys()
        for hospital in self._shown:
            BYTES.labels(hospital).set(totals.get(hospital, 0))

    def _settle(self, stuck: float) -> None:
        if stuck and not self._stuck:
            log.warning("the cache tier is full and nothing of it may be evicted", bytes_above=round(stuck))
        self._stuck = stuck
        STUCK.set(stuck)


class RemoveEvicted:
    """Removes the objects of what is marked, also of a copy of this service that was killed in between."""

    def __init__(self, store: ObjectStore, cache: CacheLedger, note_cached: NoteCached) -> None:
        self._store = store
        self._cache = cache
        self._note_cached = note_cached

    async def __call__(self) -> bool:
        """Remove a page, each manifest before its data; whether there may be more."""
        if not await self._cache.take_turn("remove-evicted"):
            return False
        marked = await self._cache.evicted(PAGE)
        again = [key for key, at in marked.items() if not await self._remove(key, at)]
        await self._cache.forget(list(marked))
        for key in again:
            await self._note_cached(key)
        return bool(marked)

    async def _remove(self, key: str, marked_at: datetime) -> bool:
        """Whether it is gone; what was sent again after the mark stays, as a new batch under the same key."""
        data_key = f"{key.removesuffix('.json')}.batch"
        if await written_at(self._store, CACHE_BUCKET, data_key) > marked_at:
            return False
        await self._store.delete(CACHE_BUCKET, key)
        await self._store.delete(CACHE_BUCKET, data_key)
        REMOVED.labels("cached batch").inc()
        return True
