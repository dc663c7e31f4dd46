"""Objects in any S3 store through the `minio` client: the one bridge from its blocking calls to asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from imaging_common.objects.fake import FakeObjectStore
from imaging_common.objects.ports import (
    ObjectDamaged,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    StoreFull,
    StoreUnavailable,
)
from imaging_common.settings import ServiceSettings

T = TypeVar("T")
Infos = list[ObjectInfo]
THREADS = 16
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
PART_BYTES = 16 * 1024 * 1024
"""Of a multipart upload; three are in memory at a time."""
LIST_PAGE = 1000
"""Keys a store answers with at once."""
MISSING = frozenset({"NoSuchKey", "NoSuchObject", "NoSuchBucket"})
FULL = frozenset({"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientCapacity"})


class MinioObjectStore:
    """`ObjectStore` on MinIO or any S3 store; plain S3 calls only."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._client = Minio(
            endpoint=settings.minio_endpoint,
            access_key=settings.minio_access_key,
            secret_key=settings.minio_secret_key.get_secret_value(),
            secure=settings.minio_secure,
            region="us-east-1",
            http_client=urllib3.PoolManager(
                maxsize=2 * THREADS,
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
            raise ObjectDamaged(bucket, key)
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

    async def stat(self, bucket: str, key: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        found = await self._run(lambda: self._client.stat_object(bucket_name=bucket, object_name=key), bucket, key)
        return ObjectInfo(key, found.size or 0, found.last_modified or datetime.now(UTC))

    async def exists(self, bucket: str, key: str) -> bool:
        """See `ObjectStore.exists`."""
        try:
            await self.stat(bucket, key)
        except ObjectNotFound:
            return False
        return True

    async def delete(self, bucket: str, key: str) -> None:
        """See `ObjectStore.delete`."""
        try:
            await self._run(lambda: self._client.remove_object(bucket_name=bucket, object_name=key), bucket, key)
        except ObjectNotFound:
            return

    async def _run(self, call: Callable[[], T], bucket: str, key: str) -> T:
        """Run a blocking call in a thread; the pool bounds how many run at once."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except S3Error as error:
            if error.code in MISSING:
                raise ObjectNotFound(bucket, key) from error
            if error.code == "InvalidRange":
                raise ObjectDamaged(bucket, key) from error
            if error.code in FULL:
                raise StoreFull("the object store is full") from error
            raise StoreUnavailable(f"the object store refused {key} in {bucket}: {error.code}") from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailable(f"the object store does not answer: {type(error).__name__}") from error


__all__ = [
    "FakeObjectStore",
    "MinioObjectStore",
    "ObjectDamaged",
    "ObjectInfo",
    "ObjectNotFound",
    "ObjectStore",
    "StoreFull",
    "StoreUnavailable",
]
