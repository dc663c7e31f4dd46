"""Part 10 files as they were received, rebuilt piece by piece, so that memory does not grow with a file."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from imaging_common.index.model import InstanceDocument
from imaging_common.objects.rebuild import decode_frame
from imaging_common.objects.store import ObjectStore
from imaging_common.telemetry import get_logger

CHUNK_BYTES = 1024 * 1024
GROUP_BYTES = 4 * 1024 * 1024
"""Compressed frames that are read with one request while a file is rebuilt."""
log = get_logger(__name__)


class RottenFile(Exception):
    """The stored bytes are not those that were received: the answer breaks off, so that nobody takes it for whole."""


async def stream_file(store: ObjectStore, instance: InstanceDocument) -> AsyncIterator[bytes]:
    """The file's bytes.

    Raises
    ------
    ObjectNotFound
        Before the first byte: the object has moved.
    RottenFile
        At the end: the SHA-256 is not the one it came with.
    """
    digest = hashlib.sha256()
    pieces = _original(store, instance) if instance.location.encoding == "original" else _rebuilt(store, instance)
    async for piece in pieces:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != instance.sha256:
        log.error("stored file is rotten", bucket=instance.location.bucket, holder=instance.holder)
        raise RottenFile("a stored file does not have the SHA-256 it came with")


async def read_file(store: ObjectStore, instance: InstanceDocument) -> bytes:
    """The whole file, checked."""
    return b"".join([piece async for piece in stream_file(store, instance)])


async def _original(store: ObjectStore, instance: InstanceDocument) -> AsyncIterator[bytes]:
    place = instance.location
    if place.length <= CHUNK_BYTES:
        yield await store.get_range(place.bucket, place.key, place.offset, place.length)
        return
    async for piece in store.stream(place.bucket, place.key, place.offset, place.length, CHUNK_BYTES):
        yield piece


async def _rebuilt(store: ObjectStore, instance: InstanceDocument) -> AsyncIterator[bytes]:
    """Head, decoded frames, tail (see `imaging_common.objects.model`)."""
    place = instance.location
    position = place.offset
    for first, last in _groups([ranges[0] for ranges in place.frames]):
        start, end = place.frames[first][0][0], sum(place.frames[last][0])
        group = memoryview(await store.get_range(place.bucket, place.key, position, end - position))
        if start > position:
            yield bytes(group[: start - position])
        for ranges in place.frames[first : last + 1]:
            offset, length = ranges[0]
            encoded = bytes(group[offset - position : offset - position + length])
            yield await asyncio.to_thread(decode_frame, encoded, place)
        position = end
    rest = place.offset + place.length - position
    if rest:
        yield await store.get_range(place.bucket, place.key, position, rest)


def _groups(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Consecutive frames, first and last index, read together."""
    groups: list[tuple[int, int]] = []
    first, size = 0, 0
    for index, (_, length) in enumerate(ranges):
        if size and size + length > GROUP_BYTES:
            groups.append((first, index - 1))
            first, size = index, 0
        size += length
    return [*groups, (first, len(ranges) - 1)] if ranges else []
