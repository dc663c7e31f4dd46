"""Sums over what the store keeper knows of the buckets."""

from datetime import datetime
from typing import Protocol

from imaging_common.events import TierUsage


class StorageSums(Protocol):
    """Adds up what lies where."""

    async def usage(self) -> list[TierUsage]:
        """Per hospital and tier, whatever has something."""
        ...

    async def oldest_waiting(self) -> datetime | None:
        """When the series was last sent something that has waited longest for its pack; None: none waits."""
        ...


class FakeStorageSums:
    """`StorageSums` with what was put in."""

    def __init__(self, usage: list[TierUsage], oldest: datetime | None = None) -> None:
        self.sums = usage
        self.oldest = oldest

    async def usage(self) -> list[TierUsage]:
        """See `StorageSums.usage`."""
        return self.sums

    async def oldest_waiting(self) -> datetime | None:
        """See `StorageSums.oldest_waiting`."""
        return self.oldest
