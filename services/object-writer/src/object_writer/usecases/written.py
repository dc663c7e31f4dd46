"""When an object was written."""

from datetime import UTC, datetime

from imaging_common.objects.store import ObjectStore


async def written_at(store: ObjectStore, bucket: str, key: str) -> datetime:
    """By the store's clock, to the millisecond, which only a listing tells; long ago for one that is gone."""
    async for entry in store.list(bucket, key):
        if entry.key == key:
            return entry.modified
    return datetime.min.replace(tzinfo=UTC)
