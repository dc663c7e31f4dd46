"""`RecordStore` in memory, for unit tests."""

from collections.abc import AsyncIterator
from typing import Any

from audit.model import GENESIS, link_hash


class FakeRecordStore:
    """Keeps the links in a list."""

    def __init__(self) -> None:
        self.links: list[dict[str, Any]] = []

    async def append(self, stream: str, record: dict[str, Any]) -> bool:
        """See `RecordStore.append`."""
        if any(link["record"]["audit_id"] == record["audit_id"] for link in self.links):
            return False
        seq, prev_hash = (await self.streams()).get(stream, (0, GENESIS))
        digest = link_hash(stream, seq + 1, prev_hash, record)
        link = {"stream": stream, "seq": seq + 1, "prev_hash": prev_hash, "hash": digest, "record": record}
        self.links.append(link)
        return True

    async def search(self, criteria: dict[str, Any], limit: int, offset: int) -> list[dict[str, Any]]:
        """See `RecordStore.search`; compares only plain equality of `record.…` fields."""
        wanted = {name.removeprefix("record."): value for name, value in criteria.items()}
        found = [link for link in self.links if all(link["record"].get(k) == v for k, v in wanted.items())]
        return found[::-1][offset : offset + limit]

    async def streams(self) -> dict[str, tuple[int, str]]:
        """See `RecordStore.streams`."""
        return {link["stream"]: (link["seq"], link["hash"]) for link in self.links}

    async def chain(self, stream: str) -> AsyncIterator[dict[str, Any]]:
        """See `RecordStore.chain`."""
        for link in self.links:
            if link["stream"] == stream:
                yield link
