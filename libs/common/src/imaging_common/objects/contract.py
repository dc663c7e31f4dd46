"""What every `ObjectStore` must do; the same checks run on the fake and on the real server."""

import asyncio
import secrets
from pathlib import Path

from imaging_common.objects.ports import ObjectDamaged, ObjectNotFound, ObjectStore


async def check_object_store(store: ObjectStore, bucket: str, folder: Path, *, many: int = 5) -> None:
    """Write, read, list, replace and remove objects under a prefix of their own.

    Parameters
    ----------
    folder
        For a file that is uploaded.
    many
        How many objects to list: more than a page shows that pages are joined.
    """
    prefix = f"contract-{secrets.token_hex(6)}"
    await _check_reading(store, bucket, f"{prefix}/a/one")
    await _check_file(store, bucket, f"{prefix}/b/file", folder / "upload")
    await _check_absence(store, bucket, f"{prefix}/none")
    keys = [f"{prefix}/list/{number:05d}" for number in range(many)]
    for key in reversed(keys):
        await store.put(bucket, key, b"x")
    listed = [entry async for entry in store.list(bucket, f"{prefix}/list/")]
    assert [entry.key for entry in listed] == keys
    assert {entry.size for entry in listed} <= {1}
    async for entry in store.list(bucket, prefix):
        await store.delete(bucket, entry.key)
    assert [entry async for entry in store.list(bucket, prefix)] == []


async def _check_reading(store: ObjectStore, bucket: str, key: str) -> None:
    await store.put(bucket, key, b"0123456789")
    assert await store.get(bucket, key) == b"0123456789"
    assert await store.get_range(bucket, key, 2, 3) == b"234"
    assert await store.get_range(bucket, key, 2, 0) == b""
    assert [piece async for piece in store.stream(bucket, key, 1, 8, 3)] == [b"123", b"456", b"78"]
    assert await store.exists(bucket, key)
    assert (await store.stat(bucket, key)).size == 10
    for offset in (8, 10, 20):
        assert await _raises_damaged(store, bucket, key, offset)
    await store.put(bucket, key, b"")
    assert await store.get(bucket, key) == b""


async def _check_file(store: ObjectStore, bucket: str, key: str, path: Path) -> None:
    data = secrets.token_bytes(1 << 20) * 20  # multipart where the store has parts
    await asyncio.to_thread(path.write_bytes, data)
    await store.put(bucket, key, path)
    assert await store.get(bucket, key) == data


async def _check_absence(store: ObjectStore, bucket: str, key: str) -> None:
    assert not await store.exists(bucket, key)
    await store.delete(bucket, key)
    calls = (store.get(bucket, key), store.get_range(bucket, key, 0, 1), store.stat(bucket, key))
    for call in calls:
        try:
            await call
        except ObjectNotFound:
            continue
        raise AssertionError("an object that is not there was read")


async def _raises_damaged(store: ObjectStore, bucket: str, key: str, offset: int) -> bool:
    try:
        await store.get_range(bucket, key, offset, 5)
    except ObjectDamaged:
        return True
    return False
