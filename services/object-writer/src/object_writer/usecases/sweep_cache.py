"""Looks through the cache tier: notes what no event told of, removes what was never finished, and old catalogues."""

from datetime import UTC, datetime, timedelta

from imaging_common.errors import RejectedError
from imaging_common.objects.model import CACHE_BUCKET
from imaging_common.objects.store import ObjectInfo, ObjectStore
from imaging_common.telemetry import get_logger
from object_writer.ports import CacheLedger
from object_writer.usecases.note_cached import NoteCached
from object_writer.usecases.sweep_staging import REMOVED, RemoveOrphans

PAGE = 1000
CATALOGUE = ".catalogue"
REMEMBERED = timedelta(days=90)
"""How long it is kept that a study without copies here was looked at."""
log = get_logger(__name__)


class SweepCache:
    """An event is only a hint: what lies in the cache tier is found without it."""

    def __init__(self, store: ObjectStore, cache: CacheLedger, note_cached: NoteCached, orphan_seconds: float) -> None:
        self._store = store
        self._cache = cache
        self._note_cached = note_cached
        self._age = timedelta(seconds=orphan_seconds)
        self._remove_orphans = RemoveOrphans(store, CACHE_BUCKET, orphan_seconds)

    async def __call__(self) -> int:
        """One look; how many batches were noted."""
        if not await self._cache.take_turn("sweep-cache"):
            return 0
        noted, page, catalogues = 0, list[ObjectInfo](), list[ObjectInfo]()
        async for entry in self._store.list(CACHE_BUCKET, ""):
            if entry.key.endswith(CATALOGUE):
                if catalogues and _study(catalogues[0]) != _study(entry):
                    await self._remove_superseded(catalogues)
                    catalogues = []
                catalogues.append(entry)
                continue
            page.append(entry)
            if len(page) >= PAGE and entry.key.endswith(".json"):
                noted += await self._page(page)
                page = []
        await self._remove_superseded(catalogues)
        await self._cache.forget_unused(datetime.now(UTC) - REMEMBERED)
        return noted + await self._page(page)

    async def _page(self, page: list[ObjectInfo]) -> int:
        manifests = {entry.key for entry in page if entry.key.endswith(".json")}
        unknown = manifests - await self._cache.known_batches(manifests)
        for key in sorted(unknown):
            try:
                await self._note_cached(key)
            except RejectedError as error:
                log.error("a cached manifest cannot be noted", key=key, error=type(error).__name__)
        await self._remove_orphans([entry for entry in page if not entry.key.endswith(".json")], manifests)
        return len(unknown)

    async def _remove_superseded(self, catalogues: list[ObjectInfo]) -> None:
        """All but the newest of a study, once the newest is old enough that nobody reads another one."""
        ordered = sorted(catalogues, key=lambda entry: entry.modified)
        if len(ordered) < 2 or ordered[-1].modified > datetime.now(UTC) - self._age:
            return
        for entry in ordered[:-1]:
            await self._store.delete(CACHE_BUCKET, entry.key)
            REMOVED.labels("catalogue").inc()


def _study(entry: ObjectInfo) -> str:
    return entry.key.rsplit("/", 1)[0]
