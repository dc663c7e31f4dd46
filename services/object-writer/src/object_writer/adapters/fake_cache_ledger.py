"""`CacheLedger` in memory, for unit tests; events go to the `published` of the `FakeLedger` beside it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from imaging_common.events import BatchStored, InstancesEvicted, ManifestEntry
from imaging_common.objects.model import Manifest
from object_writer.adapters.fake_deletions import FakeDeletions
from object_writer.adapters.fake_ledger import FakeLedger
from object_writer.eviction import CachedStudy
from object_writer.ports.cache_ledger import Idle

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Study:
    opened_at: datetime = NEVER
    arrived_at: datetime = NEVER
    pins: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Batch:
    manifest: Manifest
    evicted_at: datetime | None = None


class FakeCacheLedger:
    """One process, no transactions; the rules are those of `MongoCacheLedger`."""

    def __init__(self, ledger: FakeLedger, deletions: FakeDeletions) -> None:
        self.ledger = ledger
        self.deletions = deletions
        self.studies: dict[str, _Study] = {}
        self.batches: dict[str, _Batch] = {}
        self.others_turn = False

    async def note_batch(self, manifest: Manifest, manifest_key: str) -> None:
        """See `CacheLedger.note_batch`."""
        if manifest_key not in self.batches:
            self.batches[manifest_key] = _Batch(manifest)
            self._study(f"{manifest.hospital}/{manifest.study_uid}").arrived_at = datetime.now(UTC)
        entries = [ManifestEntry(sop_instance_uid=i.sop_instance_uid, sha256=i.sha256) for i in manifest.instances]
        event = BatchStored(hospital=manifest.hospital, study_uid=manifest.study_uid, instances=entries)
        self.ledger.published.append((f"edge-commands-{manifest.hospital}", event))

    async def known_batches(self, manifest_keys: Collection[str]) -> set[str]:
        """See `CacheLedger.known_batches`."""
        return set(manifest_keys) & self.batches.keys()

    async def note_opened(self, hospital: str, study_uid: str, at: datetime) -> None:
        """See `CacheLedger.note_opened`."""
        study = self._study(f"{hospital}/{study_uid}")
        study.opened_at = max(study.opened_at, min(at, datetime.now(UTC)))

    async def pin(self, hospital: str, study_uid: str, case_id: str) -> None:
        """See `CacheLedger.pin`."""
        self._study(f"{hospital}/{study_uid}").pins.add(case_id)

    async def release(self, hospital: str, study_uid: str, case_id: str) -> None:
        """See `CacheLedger.release`."""
        self._study(f"{hospital}/{study_uid}").pins.discard(case_id)

    async def totals(self) -> dict[str, int]:
        """See `CacheLedger.totals`."""
        totals: dict[str, int] = {}
        for study_id in self.studies:
            if size := self._size(study_id):
                hospital = study_id.split("/")[0]
                totals[hospital] = totals.get(hospital, 0) + size
        return totals

    async def evictable(self, hospital: str, idle: Idle, limit: int) -> list[CachedStudy]:
        """See `CacheLedger.evictable`."""
        return [study for study in self._idle(idle) if study.hospital == hospital][:limit]

    async def redundant(self, idle: Idle, limit: int) -> list[CachedStudy]:
        """See `CacheLedger.redundant`."""
        return [study for study in self._idle(idle) if self._is_in_archive(study.id)][:limit]

    def _is_in_archive(self, study_id: str) -> bool:
        located = {i.name[0] for (s, _), i in self.ledger.instances.items() if s == study_id and i.located_in}
        cached = {i.sop_instance_uid for key in self._open(study_id) for i in self.batches[key].manifest.instances}
        return cached <= located

    async def evict(self, study: CachedStudy, idle: Idle) -> int:
        """See `CacheLedger.evict`."""
        if study.id not in {one.id for one in self._idle(idle)}:
            return 0
        size = self._size(study.id)
        await self.evict_purged(study.id)
        return size

    async def evict_purged(self, study_id: str) -> None:
        """See `CacheLedger.evict_purged`."""
        keys = sorted(self._open(study_id))
        for key in keys:
            self.batches[key].evicted_at = datetime.now(UTC)
        if keys:
            hospital, study_uid = study_id.split("/")
            event = InstancesEvicted(hospital=hospital, study_uid=study_uid, bucket="cache", manifest_keys=keys)
            self.ledger.published.append(("instances-stored", event))

    async def evicted(self, limit: int) -> dict[str, datetime]:
        """See `CacheLedger.evicted`."""
        marked = {key: batch.evicted_at for key, batch in self.batches.items() if batch.evicted_at}
        return dict(list(marked.items())[:limit])

    async def forget(self, manifest_keys: Sequence[str]) -> None:
        """See `CacheLedger.forget`."""
        for key in manifest_keys:
            if key in self.batches and self.batches[key].evicted_at:
                del self.batches[key]

    async def forget_unused(self, before: datetime) -> None:
        """See `CacheLedger.forget_unused`."""
        for study_id, study in list(self.studies.items()):
            used_at = max(study.opened_at, study.arrived_at)
            if NEVER < used_at < before and not study.pins and not self._size(study_id):
                del self.studies[study_id]

    async def take_turn(self, work: str) -> bool:
        """See `CacheLedger.take_turn`."""
        return not self.others_turn

    def _study(self, study_id: str) -> _Study:
        return self.studies.setdefault(study_id, _Study())

    def _open(self, study_id: str) -> list[str]:
        return [
            key
            for key, batch in self.batches.items()
            if batch.evicted_at is None and f"{batch.manifest.hospital}/{batch.manifest.study_uid}" == study_id
        ]

    def _size(self, study_id: str) -> int:
        return sum(i.length for key in self._open(study_id) for i in self.batches[key].manifest.instances)

    def _idle(self, idle: Idle) -> list[CachedStudy]:
        found = []
        for study_id, study in self.studies.items():
            hospital, study_uid = study_id.split("/")
            needed = study.pins or study.opened_at > idle.opened_before or study.arrived_at > idle.arrived_before
            if self._size(study_id) and not needed and not self.deletions.is_held(study_id):
                used_at = max(study.opened_at, study.arrived_at)
                found.append(CachedStudy(hospital, study_uid, self._size(study_id), used_at))
        return sorted(found, key=lambda one: one.used_at)
