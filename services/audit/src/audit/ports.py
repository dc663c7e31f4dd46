"""What the audit service needs of its store."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from audit.model import Anchor, Head, Link, RecordQuery
from audit.summary import Looker


class RecordStore(Protocol):
    """Chains of audit records, one per stream."""

    async def append(self, stream: str, record: dict[str, Any]) -> bool:
        """Append; False when a record with the same `audit_id` is there. Safe with several writers."""
        ...

    async def search(self, query: RecordQuery, limit: int, offset: int) -> list[Link]:
        """Links whose record matches, the newest first."""
        ...

    async def summary(self, query: RecordQuery) -> tuple[list[Looker], bool]:
        """Who looked, of the records that match (`summary.summarize`), at most `MAX_PEOPLE`; and if there are more."""
        ...

    async def heads(self) -> dict[str, Head]:
        """Each stream's last link, as it was noted when that was written; a stream without a note has an empty head."""
        ...

    def chain(self, stream: str) -> AsyncIterator[Link]:
        """A stream's links in order."""
        ...


class AnchorVault(Protocol):
    """Keeps anchors where neither this service nor who holds its database can change or remove them."""

    async def keep(self, name: str, anchor: Anchor) -> bool:
        """Keep it under a name; False when an anchor of that name is kept: the first one stays."""
        ...

    def all(self) -> AsyncIterator[Anchor]:
        """Every anchor, the oldest first."""
        ...

    async def check(self) -> None:
        """Raise when it does not answer, or does not lock what it keeps."""
        ...
