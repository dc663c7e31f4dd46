"""Sums over what the store keeper knows of the buckets."""

from typing import Protocol

from imaging_common.events import TierUsage


class StorageSums(Protocol):
    """Adds up what lies where."""

    async def usage(self) -> list[TierUsage]:
        """Per hospital and tier, whatever has something."""
        ...


class FakeStorageSums:
    """`StorageSums` with what was put in."""

    def __init__(self, usage: list[TierUsage]) -> None:
        self.sums = usage

    async def usage(self) -> list[TierUsage]:
        """See `StorageSums.usage`."""
        return self.sums
