"""Reads small files of one answer some way ahead of the one that goes out, so that no read waits for the network."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from imaging_common.index.model import InstanceDocument

AHEAD = 4
SMALL_BYTES = 2 * 1024 * 1024
"""A larger file is streamed when its turn comes; so memory stays within `AHEAD` times this."""

Chunks = AsyncIterator[bytes]
Opened = tuple[InstanceDocument, Chunks]


async def opened_ahead(
    instances: AsyncIterator[InstanceDocument], chunks_of: Callable[[InstanceDocument], Chunks]
) -> AsyncGenerator[Opened, None]:
    """Each instance with its file's bytes, in the order of `instances`; an error comes in its place."""
    queue: asyncio.Queue[tuple[InstanceDocument, asyncio.Task[bytes] | None] | Exception | None] = asyncio.Queue(AHEAD)
    reads: set[asyncio.Task[bytes]] = set()

    async def whole(instance: InstanceDocument) -> bytes:
        return b"".join([piece async for piece in chunks_of(instance)])

    async def fill() -> None:
        try:
            async for instance in instances:
                task = None
                if instance.location.original_length <= SMALL_BYTES:
                    task = asyncio.create_task(whole(instance))
                    reads.add(task)
                    task.add_done_callback(_seen)
                await queue.put((instance, task))
            await queue.put(None)
        except Exception as error:
            await queue.put(error)

    filling = asyncio.create_task(fill())
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            instance, task = item
            if task is None:
                yield instance, chunks_of(instance)
            else:
                yield instance, _one(await task)
                reads.discard(task)
    finally:
        for one in (filling, *reads):
            one.cancel()
        await asyncio.gather(filling, *reads, return_exceptions=True)
        close: Any = getattr(instances, "aclose", None)
        if close is not None:
            await close()


async def _one(data: bytes) -> Chunks:
    yield data


def _seen(task: asyncio.Task[bytes]) -> None:
    if not task.cancelled():
        task.exception()
