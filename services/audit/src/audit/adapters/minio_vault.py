"""`AnchorVault` in a bucket with S3 Object Lock: what is written there stays for its retention, whoever asks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TypeVar

import urllib3
from minio import Minio
from minio.commonconfig import COMPLIANCE
from minio.error import MinioException, S3Error
from minio.retention import Retention

from audit.errors import VaultUnavailable
from audit.model import Anchor
from audit.settings import AuditSettings

T = TypeVar("T")
FOLDER = "heads/"
DEADLINE = urllib3.Timeout(connect=5.0, read=30.0)


class MinioVault:
    """The first version of an anchor counts: a later one of the same name is not looked at."""

    def __init__(self, settings: AuditSettings) -> None:
        self._bucket = settings.anchor_bucket
        self._keep_for = timedelta(days=settings.anchor_days)
        self._client = Minio(
            endpoint=settings.minio_endpoint,
            access_key=settings.minio_access_key,
            secret_key=settings.minio_secret_key.get_secret_value(),
            secure=settings.minio_secure,
            region="us-east-1",
            http_client=urllib3.PoolManager(timeout=DEADLINE, retries=urllib3.Retry(total=2, backoff_factor=0.2)),
        )

    async def keep(self, name: str, anchor: Anchor) -> bool:
        """See `AnchorVault.keep`."""
        data, key = anchor.to_json(), f"{FOLDER}{name}.json"

        def write() -> bool:
            try:
                self._client.stat_object(bucket_name=self._bucket, object_name=key)
                return False
            except S3Error as error:
                if error.code != "NoSuchKey":
                    raise
            self._client.put_object(
                bucket_name=self._bucket,
                object_name=key,
                data=BytesIO(data),
                length=len(data),
                content_type="application/json",
                retention=Retention(COMPLIANCE, datetime.now(UTC) + self._keep_for),
            )
            return True

        return await self._run(write)

    async def all(self) -> AsyncIterator[Anchor]:
        """See `AnchorVault.all`."""

        def names() -> list[tuple[str, str]]:
            first: dict[str, tuple[datetime, str]] = {}
            listing = self._client.list_objects(
                bucket_name=self._bucket, prefix=FOLDER, recursive=True, include_version=True
            )
            for entry in listing:
                if entry.is_delete_marker or entry.last_modified is None or entry.object_name is None:
                    continue
                found = (entry.last_modified, entry.version_id or "")
                first[entry.object_name] = min(first.get(entry.object_name, found), found)
            return [(key, version) for key, (_, version) in sorted(first.items())]

        def read(key: str, version: str) -> bytes:
            answer = self._client.get_object(bucket_name=self._bucket, object_name=key, version_id=version or None)
            try:
                return bytes(answer.read())
            finally:
                answer.close()
                answer.release_conn()

        for key, version in await self._run(names):
            yield Anchor.from_json(await self._run(lambda key=key, version=version: read(key, version)))  # type: ignore[misc]

    async def check(self) -> None:
        """See `AnchorVault.check`."""
        await self._run(lambda: self._client.get_object_lock_config(bucket_name=self._bucket))

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(call)
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise VaultUnavailable(f"the bucket {self._bucket} with the anchors does not answer") from error
