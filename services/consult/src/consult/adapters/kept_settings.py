"""What operators set (routing table, experts): one document each, replaced whole by who names the revision they saw."""

from typing import Any, Protocol

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

Document = dict[str, Any]


class KeptSettings(Protocol):
    """Documents by name, each with a `revision`, 0 while nobody has set it."""

    async def get(self, name: str) -> tuple[int, Document]:
        """Its revision and what it says."""
        ...

    async def put(self, name: str, expected: int, content: Document) -> bool:
        """Replace it, when it is still the revision `expected`; the new one is the next."""
        ...


class MongoKeptSettings:
    """`KeptSettings` on MongoDB: collection `settings`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._settings = database["settings"]

    async def get(self, name: str) -> tuple[int, Document]:
        """See `KeptSettings.get`."""
        found = await self._settings.find_one({"_id": name})
        return (int(found["revision"]), dict(found["content"])) if found else (0, {})

    async def put(self, name: str, expected: int, content: Document) -> bool:
        """See `KeptSettings.put`."""
        new = {"_id": name, "revision": expected + 1, "content": content}
        if expected == 0:
            try:
                await self._settings.insert_one(new)
            except DuplicateKeyError:
                return False
            return True
        done = await self._settings.replace_one({"_id": name, "revision": expected}, new)
        return done.matched_count == 1


class FakeKeptSettings:
    """`KeptSettings` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[int, Document]] = {}

    async def get(self, name: str) -> tuple[int, Document]:
        """See `KeptSettings.get`."""
        return self.kept.get(name, (0, {}))

    async def put(self, name: str, expected: int, content: Document) -> bool:
        """See `KeptSettings.put`."""
        if self.kept.get(name, (0, {}))[0] != expected:
            return False
        self.kept[name] = (expected + 1, content)
        return True
