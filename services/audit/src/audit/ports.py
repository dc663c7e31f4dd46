"""What the audit service needs of its store."""

from collections.abc import AsyncIterator
from typing import Any, Protocol


class RecordStore(Protocol):
    """Chains of audit records, one per stream."""

    async def append(self, stream: str, record: dict[str, Any]) -> bool:
        """Append; False when a record with the same `audit_id` is there. Safe with several writers."""
        ...

    async def search(self, criteria: dict[str, Any], limit: int, offset: int) -> list[dict[str, Any]]:
        """Records that match, the newest first."""
        ...

    async def streams(self) -> dict[str, tuple[int, str]]:
        """Each stream's head: number and hash of its last record."""
        ...

    def chain(self, stream: str) -> AsyncIterator[dict[str, Any]]:
        """A stream's links in order."""
        ...
