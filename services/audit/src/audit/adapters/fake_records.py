"""`RecordStore` in memory, for unit tests."""

from collections.abc import AsyncIterator
from typing import Any

from audit.model import Head, Link, Position, RecordQuery, make_link
from audit.summary import MAX_PEOPLE, Looker, summarize


class FakeRecordStore:
    """Keeps the links in a list."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.noted: dict[str, Head] = {}

    async def append(self, stream: str, record: dict[str, Any]) -> bool:
        """See `RecordStore.append`."""
        if any(link["audit_id"] == record["audit_id"] for link in self.links):
            return False
        link = make_link(stream, self.noted.get(stream, Head()), record)
        self.links.append(link)
        self.noted[stream] = Head(link["seq"], link["hash"])
        return True

    async def search(self, query: RecordQuery, limit: int, offset: int) -> list[Link]:
        """See `RecordStore.search`."""
        found = [
            link
            for link in self.links
            if all(link["record"].get(name) == value for name, value in query.equal.items())
            and (
                not (query.residents or query.studies)
                or link["record"].get("resident_id") in query.residents
                or link["record"].get("study_uid") in query.studies
            )
            and (query.since is None or link["at"] >= query.since)
            and (query.until is None or link["at"] < query.until)
            and (query.after is None or Position.of(link).key < query.after.key)
        ]
        found.sort(key=lambda link: Position.of(link).key, reverse=True)
        return found[offset : offset + limit]

    async def summary(self, query: RecordQuery) -> tuple[list[Looker], bool]:
        """See `RecordStore.summary`."""
        found = summarize(await self.search(query, len(self.links), 0))
        return found[:MAX_PEOPLE], len(found) > MAX_PEOPLE

    async def heads(self) -> dict[str, Head]:
        """See `RecordStore.heads`."""
        return {link["stream"]: Head() for link in self.links} | self.noted

    async def chain(self, stream: str) -> AsyncIterator[Link]:
        """See `RecordStore.chain`."""
        for link in sorted(self.links, key=lambda link: link["seq"]):
            if link["stream"] == stream:
                yield link
