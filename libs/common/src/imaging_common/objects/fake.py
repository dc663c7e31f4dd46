"""`ObjectStore` in memory, for unit tests."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from imaging_common.objects.ports import ObjectDamaged, ObjectInfo, ObjectNotFound


class FakeObjectStore:
    """Keeps objects in `objects`; `fail_with` makes every further call raise."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.modified: dict[tuple[str, str], datetime] = {}
        self.fail_with: Exception | None = None

    async def put(self, bucket: str, key: str, data: bytes | Path) -> None:
        """See `ObjectStore.put`."""
        self._maybe_fail()
        content = await asyncio.to_thread(data.read_bytes) if isinstance(data, Path) else bytes(data)
        self.objects[bucket, key] = content
        self.modified[bucket, key] = datetime.now(UTC)

    async def get(self, bucket: str, key: str) -> bytes:
        """See `ObjectStore.get`."""
        self._maybe_fail()
        try:
            return self.objects[bucket, key]
        except KeyError:
            raise ObjectNotFound(bucket, key) from None

    async def get_range(self, bucket: str, key: str, offset: int, length: int) -> bytes:
        """See `ObjectStore.get_range`."""
        data = (await self.get(bucket, key))[offset : offset + length]
        if len(data) != length:
            raise ObjectDamaged(bucket, key)
        return data

    async def stream(self, bucket: str, key: str, offset: int, length: int, chunk: int) -> AsyncIterator[bytes]:
        """See `ObjectStore.stream`."""
        for start in range(offset, offset + length, chunk):
            yield await self.get_range(bucket, key, start, min(chunk, offset + length - start))

    async def list(self, bucket: str, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        self._maybe_fail()
        for place in sorted(self.objects):
            if place[0] == bucket and place[1].startswith(prefix) and place in self.objects:
                yield ObjectInfo(place[1], len(self.objects[place]), self.modified[place])

    async def stat(self, bucket: str, key: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        return ObjectInfo(key, len(await self.get(bucket, key)), self.modified[bucket, key])

    async def exists(self, bucket: str, key: str) -> bool:
        """See `ObjectStore.exists`."""
        self._maybe_fail()
        return (bucket, key) in self.objects

    async def delete(self, bucket: str, key: str) -> None:
        """See `ObjectStore.delete`."""
        self._maybe_fail()
        self.objects.pop((bucket, key), None)

    async def check(self) -> None:
        """See `MinioObjectStore.check`."""
        self._maybe_fail()

    def _maybe_fail(self) -> None:
        if self.fail_with is not None:
            raise self.fail_with
