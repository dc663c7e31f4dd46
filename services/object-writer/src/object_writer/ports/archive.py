"""What packing needs from outside, beside the object store."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from imaging_common.events import HospitalRegistered, InstancesLocated
from imaging_common.objects.model import Manifest, StoredInstance
from object_writer.compress import Work
from object_writer.model import Name


class Compressor(Protocol):
    """Packs entries, off the event loop."""

    async def pack(self, source: Path, target: Path, work: list[Work]) -> list[StoredInstance | None]:
        """See `compress.pack_entries`."""
        ...


@dataclass(frozen=True, slots=True)
class DueSeries:
    """A series that this copy of the service may work on."""

    id: str
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Pending:
    """What of a series is in no pack yet."""

    names: set[Name]
    batches: list[str]
    """Manifest keys of the staged batches that hold them."""


@dataclass(frozen=True, slots=True)
class PackRecord:
    """A pack that no other one has replaced."""

    manifest_key: str
    original_bytes: int
    names: set[Name]
    """What is to be read from it; another pack may have taken over the rest."""
    closed: bool = False
    """Its study was deleted after it was written: what comes later is not mixed with it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a hospital wants done with its images."""

    tier: Literal["distributed", "central"] = "central"
    compression: Literal["htj2k", "keep"] = "htj2k"
    cache_weight: float = 1.0
    retention_days: int = 30
    legal_hold: bool = False


class Ledger(Protocol):
    """What the store keeper knows of batches, series and packs. Every method may be repeated."""

    async def note_batch(self, manifest: Manifest, manifest_key: str) -> None:
        """A batch lies in staging. What the archive has already gets its receipt (again)."""
        ...

    async def known_batches(self, manifest_keys: Collection[str]) -> set[str]:
        """Which of these batches are noted and not forgotten."""
        ...

    async def take_series(self, quiet_before: datetime, bytes_limit: int) -> DueSeries | None:
        """Lease a series that is due to be packed."""
        ...

    async def renew(self, series_id: str) -> None:
        """Lengthen the lease; `LeaseLost` when another copy has it."""
        ...

    async def release_series(self, series_id: str, *, failed: bool) -> None:
        """Give the lease back; after a failure the series waits, longer each time, so that others get their turn."""
        ...

    async def pending(self, series_id: str) -> Pending:
        """What of the series is in no pack."""
        ...

    async def packs_of(self, series_id: str) -> list[PackRecord]:
        """The series' current packs."""
        ...

    async def known_packs(self, manifest_keys: Collection[str]) -> set[str]:
        """Which of these packs were ever noted."""
        ...

    async def note_pack(self, manifest: Manifest, manifest_key: str) -> None:
        """A pack of the leased series is written and verified; emits InstancesStored. `LeaseLost`: nothing is noted."""
        ...

    async def adopt_pack(self, manifest: Manifest, manifest_key: str) -> None:
        """A pack was found in the archive that nobody noted; emits InstancesStored."""
        ...

    async def note_damaged(self, series_id: str, name: Name, manifest_key: str) -> bool:
        """This copy of the instance cannot be read. Whether it was the last one: then the instance is lost."""
        ...

    async def packs_of_study(self, study_id: str) -> list[str]:
        """Manifest keys of every pack of a study (`<hospital>/<study>`) that should be in the archive."""
        ...

    async def batches_of_study(self, study_id: str) -> list[str]:
        """Manifest keys of every batch of a study that should be in staging."""
        ...

    async def note_pack_lost(self, manifest_key: str) -> None:
        """The pack is not in the archive: its instances are packed from staging again, or wait to be sent again."""
        ...

    async def note_located(self, event: InstancesLocated) -> None:
        """The index reads these instances from the pack; emits BatchStored to a hospital with an edge agent."""
        ...

    async def remind(self, noted_before: datetime) -> int:
        """Announce again what the index has not acknowledged; how many packs."""
        ...

    async def removable_batches(self, located_before: datetime) -> list[str]:
        """Manifest keys of batches of which every instance is located since before then."""
        ...

    async def removable_packs(self, located_before: datetime) -> list[str]:
        """Manifest keys of replaced packs that nothing is read from since before then."""
        ...

    async def forget(self, manifest_key: str) -> None:
        """The objects of this batch or pack are gone."""
        ...

    async def keep_policy(self, event: HospitalRegistered) -> None:
        """The hospital's policy; an older revision changes nothing."""
        ...

    async def policies(self) -> dict[str, Policy]:
        """Of every registered hospital."""
        ...
