"""`AnchorVault` in memory, for unit tests."""

from collections.abc import AsyncIterator

from audit.model import Anchor


class FakeVault:
    """Keeps the first anchor of each name."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def keep(self, name: str, anchor: Anchor) -> bool:
        """See `AnchorVault.keep`."""
        if name in self.kept:
            return False
        self.kept[name] = anchor.to_json()
        return True

    async def all(self) -> AsyncIterator[Anchor]:
        """See `AnchorVault.all`."""
        for name in sorted(self.kept):
            yield Anchor.from_json(self.kept[name])

    async def check(self) -> None:
        """See `AnchorVault.check`."""
