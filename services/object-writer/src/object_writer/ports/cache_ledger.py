"""What the cache tier needs from outside, beside the object store."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from imaging_common.objects.model import Manifest
from object_writer.eviction import CachedStudy


@dataclass(frozen=True, slots=True)
class Idle:
    """Which studies nobody needs now."""

    opened_before: datetime
    """Not looked at since."""
    arrived_before: datetime
    """Nothing of it came since."""


class CacheLedger(Protocol):
    """What lies in the cache tier, who used it last, and who needs it. Every method may be repeated."""

    async def note_batch(self, manifest: Manifest, manifest_key: str) -> None:
        """A batch lies in the cache tier; emits BatchStored. One that was evicted stays so."""
        ...

    async def known_batches(self, manifest_keys: Collection[str]) -> set[str]:
        """Which of these batches are noted and not forgotten."""
        ...

    async def note_opened(self, hospital: str, study_uid: str, at: datetime) -> None:
        """Somebody looks at the study; it may come to the cache tier only later."""
        ...

    async def pin(self, hospital: str, study_uid: str, case_id: str) -> None:
        """An open case needs the study at hand."""
        ...

    async def release(self, hospital: str, study_uid: str, case_id: str) -> None:
        """The case no longer needs it."""
        ...

    async def totals(self) -> dict[str, int]:
        """Bytes of every hospital that has any here; what is marked evicted does not count."""
        ...

    async def evictable(self, hospital: str, idle: Idle, limit: int) -> list[CachedStudy]:
        """Studies that are idle, not pinned and not held, least recently used first."""
        ...

    async def redundant(self, idle: Idle, limit: int) -> list[CachedStudy]:
        """Of those the ones of which the archive has every instance, and the index reads it there."""
        ...

    async def evict(self, study: CachedStudy, idle: Idle) -> int:
        """Mark the study's batches evicted, unless it is needed by now; the bytes. Emits InstancesEvicted."""
        ...

    async def evict_purged(self, study_id: str) -> None:
        """Mark the batches of a study that was deleted for good; emits InstancesEvicted."""
        ...

    async def evicted(self, limit: int) -> dict[str, datetime]:
        """Manifest keys of batches that are marked and whose objects are not known to be gone, and when they were."""
        ...

    async def forget(self, manifest_keys: Sequence[str]) -> None:
        """The objects of these batches are gone."""
        ...

    async def forget_unused(self, before: datetime) -> None:
        """Studies that have no copies here, that nobody needs, and that were last used before then."""
        ...

    async def take_turn(self, work: str) -> bool:
        """Whether this copy of the service may do this work now; the others wait until its lease runs out."""
        ...
