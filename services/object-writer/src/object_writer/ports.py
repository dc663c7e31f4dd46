"""What the store keeper's use cases need from outside, beside the object store."""

from datetime import datetime
from typing import Protocol

from imaging_common.events import InstancesLocated
from imaging_common.objects.model import Manifest, StoredInstance
from object_writer.model import PixelShape


class Compressor(Protocol):
    """Packs entries, off the event loop."""

    async def pack(
        self, file: bytes, instance: StoredInstance, shape: PixelShape | None
    ) -> tuple[bytes, StoredInstance]:
        """See `compress.pack_entry`."""
        ...


class Ledger(Protocol):
    """What the store keeper knows of batches, series and packs. Every method may be repeated."""

    async def note_batch(self, manifest: Manifest, manifest_key: str) -> None:
        """A batch lies in staging; what the archive has already gets its receipt again."""
        ...

    async def known_batches(self, manifest_keys: list[str]) -> set[str]:
        """Which of these batches are noted."""
        ...

    async def take_series(self, quiet_before: datetime, bytes_limit: int) -> str | None:
        """Lease a series that is due to be packed; its id `<hospital>/<study>/<series>`."""
        ...

    async def release_series(self, series_id: str) -> None:
        """Give the lease back."""
        ...

    async def batches_of(self, series_id: str) -> list[str]:
        """Manifest keys of the staged batches with instances of the series that are in no pack."""
        ...

    async def packs_of(self, series_id: str) -> list[str]:
        """Manifest keys of the series' current packs."""
        ...

    async def note_pack(self, manifest: Manifest, manifest_key: str, series_id: str) -> None:
        """A pack is written and verified; emits InstancesStored."""
        ...

    async def note_located(self, event: InstancesLocated) -> None:
        """The index reads these instances from the pack; emits BatchStored to the hospital."""
        ...

    async def removable_batches(self, located_before: datetime) -> list[str]:
        """Manifest keys of batches of which every instance is located since before then."""
        ...

    async def removable_packs(self, located_before: datetime) -> list[str]:
        """Manifest keys of packs that a located pack has replaced since before then."""
        ...

    async def forget(self, manifest_key: str) -> None:
        """The objects of this batch or pack are gone."""
        ...

    async def set_compression(self, hospital: str, compression: str, revision: int) -> None:
        """The hospital's policy; an older revision changes nothing."""
        ...

    async def compression(self, hospital: str) -> str:
        """`htj2k` or `keep`."""
        ...
