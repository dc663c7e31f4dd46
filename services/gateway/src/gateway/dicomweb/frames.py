"""Frames: stored bytes by range from MinIO, with read-ahead for whoever pages through a series."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from gateway.dicomweb.locations import Locations
from imaging_common.index.model import InstanceDocument
from imaging_common.objects.store import ObjectStore

WINDOW_BYTES = 4 * 1024 * 1024
CACHE_BYTES = 96 * 1024 * 1024
NEAR_BYTES = 8 * 1024 * 1024
"""Two reads of an object no further apart than this are somebody paging: what follows is read along."""
MAX_POSITIONS = 1024


@dataclass(slots=True)
class Block:
    """Bytes of an object, here or on their way."""

    start: int
    end: int
    task: "asyncio.Task[bytes]"


class FrameReader:
    """Reads frames; blocks that were read ahead are kept within a bound."""

    def __init__(self, store: ObjectStore, locations: Locations) -> None:
        self._store = store
        self._locations = locations
        self._blocks: OrderedDict[tuple[str, str, int], Block] = OrderedDict()
        self._by_object: dict[tuple[str, str], list[Block]] = {}
        self._bytes = 0
        self._positions: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def stored_frame(self, instance: InstanceDocument, frame: int) -> bytes:
        """The bytes of a frame (from 1) as stored, fragments joined.

        Raises
        ------
        ObjectNotFound
            The bytes have moved: what `instance` says of them no longer holds.
        IndexError
            There is no such frame.
        """
        ranges = instance.location.frames[frame - 1]
        parts = [await self._range(instance, offset, length) for offset, length in ranges]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _range(self, instance: InstanceDocument, offset: int, length: int) -> bytes:
        location = instance.location
        name = (location.bucket, location.key)
        for block in self._by_object.get(name, ()):
            if block.start <= offset and offset + length <= block.end:
                data = await asyncio.shield(block.task)
                self._positions[name] = offset
                return bytes(data[offset - block.start : offset - block.start + length])
        near = abs(offset - self._positions.get(name, -NEAR_BYTES - 1)) <= NEAR_BYTES
        self._positions[name] = offset
        self._positions.move_to_end(name)
        if len(self._positions) > MAX_POSITIONS:
            self._positions.popitem(last=False)
        end = await self._end_of_window(instance, offset, length) if near else offset + length
        if end == offset + length:
            return await self._store.get_range(location.bucket, location.key, offset, length)
        data = await asyncio.shield(self._fetch(name, offset, end).task)
        return data[:length]

    async def _end_of_window(self, instance: InstanceDocument, offset: int, length: int) -> int:
        """Where the last frame ends that lies within a window after `offset` in the same object."""
        location = instance.location
        end, limit = offset + length, offset + WINDOW_BYTES
        series = await self._locations.series(f"{instance.holder}/{instance.study_uid}/{instance.series_uid}")
        for other in series.by_uid.values():
            if not isinstance(other, InstanceDocument) or other.location.key != location.key:
                continue
            if not offset < other.location.offset + other.location.length or other.location.offset > limit:
                continue
            for ranges in other.location.frames:
                for start, size in ranges:
                    if offset < start and end < start + size <= limit:
                        end = start + size
        return end

    def _fetch(self, name: tuple[str, str], start: int, end: int) -> Block:
        bucket, key = name
        task = asyncio.create_task(self._store.get_range(bucket, key, start, end - start))
        block = Block(start, end, task)
        self._blocks[bucket, key, start] = block
        self._by_object.setdefault(name, []).append(block)
        self._bytes += end - start
        task.add_done_callback(lambda done: self._drop(name, block) if done.cancelled() or done.exception() else None)
        while self._bytes > CACHE_BYTES and len(self._blocks) > 1:
            (old_bucket, old_key, _), old = next(iter(self._blocks.items()))
            self._drop((old_bucket, old_key), old)
        return block

    def _drop(self, name: tuple[str, str], block: Block) -> None:
        if self._blocks.get((*name, block.start)) is not block:
            return
        del self._blocks[(*name, block.start)]
        self._bytes -= block.end - block.start
        blocks = self._by_object[name]
        blocks.remove(block)
        if not blocks:
            del self._by_object[name]
