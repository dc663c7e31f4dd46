"""Objects in any S3 store through the `minio` client: the one bridge from its blocking calls to asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, TypeVar

import urllib3
from minio import Minio
from minio.error import S3Error

from imaging_common.errors import RejectedError, RetryableError
from imaging_common.settings import ServiceSettings

T = TypeVar("T")
Infos = list["ObjectInfo"]
THREADS = 16
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
PART_BYTES = 16 * 1024 * 1024
LIST_PAGE = 500
MISSING = frozenset({"NoSuchKey", "NoSuchObject", "NoSuchBucket"})


class ObjectNotFound(RejectedError):
    """There is no such object."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(f"no object {key} in {bucket}")


class StoreUnavailable(RetryableError):
    """The object store does not answer or refuses; nothing is known of a write."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing tells."""

    key: str
    size: int
    modified: datetime


class ObjectStore(Protocol):
    """Immutable objects in buckets. All methods raise `StoreUnavailable` when the store does not answer in time."""

    async def put(self, bucket: str, key: str, data: bytes | Path) -> None:
        """Write an object whole; durable on return. The same key again replaces it."""
        ...

    async def get(self, bucket: str, key: str) -> bytes:
        """The whole object; `ObjectNotFound` without it."""
        ...

    async def get_range(self, bucket: str, key: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; `ObjectNotFound` without the object."""
        ...

    def stream(self, bucket: str, key: str, offset: int, length: int, chunk: int) -> AsyncIterator[bytes]:
        """`length` bytes from `offset` in pieces of at most `chunk` bytes."""
        ...

    def list(self, bucket: str, prefix: str) -> AsyncIterator[ObjectInfo]:
        """All objects whose key begins with `prefix`, in order of keys."""
        ...

    async def exists(self, bucket: str, key: str) -> bool:
        """Whether the object is there."""
        ...

    async def delete(self, bucket: str, key: str) -> None:
        """Remove the object; one that is gone already is no error."""
        ...


class MinioObjectStore:
    """`ObjectStore` on MinIO or any S3 store."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._client = Minio(
            endpoint=settings.minio_endpoint,
            access_key=settings.minio_access_key,
            secret_key=settings.minio_secret_key.get_secret_value(),
            secure=settings.minio_secure,
            region="us-east-1",
            http_client=urllib3.PoolManager(
                maxsize=THREADS,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
                retries=urllib3.Retry(total=2, backoff_factor=0.2, status_forcelist=[502, 503, 504]),
            ),
        )
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")

    async def check(self) -> None:
        """Raise when the store does not answer."""
        await self._run(lambda: self._client.bucket_exists(bucket_name="staging"), "staging", "")

    async def put(self, bucket: str, key: str, data: bytes | Path) -> None:
        """See `ObjectStore.put`."""

        def write() -> None:
            if isinstance(data, Path):
                with data.open("rb") as file:
                    self._put(bucket, key, file, data.stat().st_size)
            else:
                self._put(bucket, key, BytesIO(data), len(data))

        await self._run(write, bucket, key)

    def _put(self, bucket: str, key: str, file: Any, size: int) -> None:
        self._client.put_object(bucket_name=bucket, object_name=key, data=file, length=size, part_size=PART_BYTES)

    async def get(self, bucket: str, key: str) -> bytes:
        """See `ObjectStore.get`."""
        return await self._run(lambda: self._read(bucket, key, 0, 0), bucket, key)

    async def get_range(self, bucket: str, key: str, offset: int, length: int) -> bytes:
        """See `ObjectStore.get_range`."""
        if not length:
            return b""
        data = await self._run(lambda: self._read(bucket, key, offset, length), bucket, key)
        if len(data) != length:
            raise StoreUnavailable(f"the store gave {len(data)} of {length} bytes of {key} in {bucket}")
        return data

    def _read(self, bucket: str, key: str, offset: int, length: int) -> bytes:
        answer = self._client.get_object(bucket_name=bucket, object_name=key, offset=offset, length=length)
        try:
            return bytes(answer.data)
        finally:
            answer.close()
            answer.release_conn()

    async def stream(self, bucket: str, key: str, offset: int, length: int, chunk: int) -> AsyncIterator[bytes]:
        """See `ObjectStore.stream`; each piece is a range of its own, so that a slow reader holds no connection."""
        for start in range(offset, offset + length, chunk):
            yield await self.get_range(bucket, key, start, min(chunk, offset + length - start))

    async def list(self, bucket: str, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        after = ""
        while True:
            start = after
            page = await self._run(lambda: self._page(bucket, prefix, start), bucket, prefix)  # noqa: B023
            for entry in page:
                yield entry
            if len(page) < LIST_PAGE:
                return
            after = page[-1].key

    def _page(self, bucket: str, prefix: str, after: str) -> Infos:
        entries: Infos = []
        for item in self._client.list_objects(
            bucket_name=bucket, prefix=prefix, recursive=True, start_after=after or None
        ):
            entries.append(ObjectInfo(item.object_name or "", item.size or 0, item.last_modified or datetime.now(UTC)))
            if len(entries) >= LIST_PAGE:
                break
        return entries

    async def exists(self, bucket: str, key: str) -> bool:
        """See `ObjectStore.exists`."""
        try:
            await self._run(lambda: self._client.stat_object(bucket_name=bucket, object_name=key), bucket, key)
        except ObjectNotFound:
            return False
        return True

    async def delete(self, bucket: str, key: str) -> None:
        """See `ObjectStore.delete`."""
        await self._run(lambda: self._client.remove_object(bucket_name=bucket, object_name=key), bucket, key)

    async def _run(self, call: Callable[[], T], bucket: str, key: str) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except S3Error as error:
            if error.code in MISSING:
                raise ObjectNotFound(bucket, key) from error
            raise StoreUnavailable(f"the object store refused {key} in {bucket}: {error.code}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailable(f"the object store does not answer: {type(error).__name__}") from error


class FakeObjectStore:
    """`ObjectStore` in memory, for unit tests."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.modified: dict[tuple[str, str], datetime] = {}

    async def put(self, bucket: str, key: str, data: bytes | Path) -> None:
        """See `ObjectStore.put`."""
        content = await asyncio.to_thread(data.read_bytes) if isinstance(data, Path) else bytes(data)
        self.objects[bucket, key] = content
        self.modified[bucket, key] = datetime.now(UTC)

    async def get(self, bucket: str, key: str) -> bytes:
        """See `ObjectStore.get`."""
        try:
            return self.objects[bucket, key]
        except KeyError:
            raise ObjectNotFound(bucket, key) from None

    async def get_range(self, bucket: str, key: str, offset: int, length: int) -> bytes:
        """See `ObjectStore.get_range`."""
        return (await self.get(bucket, key))[offset : offset + length]

    async def stream(self, bucket: str, key: str, offset: int, length: int, chunk: int) -> AsyncIterator[bytes]:
        """See `ObjectStore.stream`."""
        data = await self.get_range(bucket, key, offset, length)
        for start in range(0, len(data), chunk):
            yield data[start : start + chunk]

    async def list(self, bucket: str, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        for place in sorted(self.objects):
            if place[0] == bucket and place[1].startswith(prefix):
                yield ObjectInfo(place[1], len(self.objects[place]), self.modified[place])

    async def exists(self, bucket: str, key: str) -> bool:
        """See `ObjectStore.exists`."""
        return (bucket, key) in self.objects

    async def delete(self, bucket: str, key: str) -> None:
        """See `ObjectStore.delete`."""
        self.objects.pop((bucket, key), None)
