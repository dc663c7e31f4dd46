"""`Files` in memory, for unit tests."""

from collections.abc import AsyncIterator


class FakeFiles:
    """Bytes by id."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def put(self, file_id: str, consult_id: str, name: str, chunks: AsyncIterator[bytes]) -> None:
        """See `Files.put`."""
        self.kept[file_id] = b"".join([chunk async for chunk in chunks])

    async def get(self, file_id: str) -> AsyncIterator[bytes] | None:
        """See `Files.get`."""
        if file_id not in self.kept:
            return None

        async def chunks() -> AsyncIterator[bytes]:
            yield self.kept[file_id]

        return chunks()

    async def delete(self, file_id: str) -> None:
        """See `Files.delete`."""
        self.kept.pop(file_id, None)
