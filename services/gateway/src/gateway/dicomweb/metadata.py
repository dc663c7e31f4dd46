"""Metadata (PS3.18 §10.4.1.1.4): stored headers joined to one JSON array, small series kept ready and compressed."""

import asyncio
import gzip
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from imaging_common.index.read import StudyIndex

CACHE_BYTES = 64 * 1024 * 1024
KEPT_INSTANCES = 3000
"""Larger series are streamed page by page and not kept."""
PAGE = 500
PLACEHOLDER = b"bulkdata://"


@dataclass(frozen=True, slots=True)
class Metadata:
    """One series' metadata, as it goes out."""

    plain: bytes
    compressed: bytes


class MetadataSource:
    """Joins headers; what it keeps is bounded and named by the study's version."""

    def __init__(self, index: StudyIndex) -> None:
        self._index = index
        self._kept: OrderedDict[tuple[str, str, str], asyncio.Task[Metadata]] = OrderedDict()
        self._sizes: dict[tuple[str, str, str], int] = {}

    async def series(self, series_key: str, version: str, bulk_base: str) -> Metadata:
        """The metadata of a series at a version of its study; `bulk_base` takes the place of `bulkdata://`."""
        name = (series_key, version, bulk_base)
        task = self._kept.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = asyncio.create_task(self._make(series_key, bulk_base))
            self._kept[name] = task
        self._kept.move_to_end(name)
        made = await asyncio.shield(task)
        self._sizes[name] = len(made.plain) + len(made.compressed)
        while sum(self._sizes.values()) > CACHE_BYTES and len(self._kept) > 1:
            old, _ = self._kept.popitem(last=False)
            self._sizes.pop(old, None)
        return made

    async def _make(self, series_key: str, bulk_base: str) -> Metadata:
        headers = await self._index.headers_of(series_key)

        def join() -> Metadata:
            plain = b"[" + b",".join(headers).replace(PLACEHOLDER, bulk_base.encode()) + b"]"
            return Metadata(plain, gzip.compress(plain, 1, mtime=0))

        return await asyncio.to_thread(join)

    async def stream(self, series: list[tuple[str, str]]) -> AsyncIterator[bytes]:
        """The metadata of several series, each (key, bulk base), in pages: one JSON array."""
        lead = b"["
        for series_key, bulk_base in series:
            skip = 0
            while page := await self._index.headers_of(series_key, skip=skip, limit=PAGE):
                yield lead + b",".join(page).replace(PLACEHOLDER, bulk_base.encode())
                lead, skip = b",", skip + len(page)
                if len(page) < PAGE:
                    break
        yield b"[]" if lead == b"[" else b"]"


async def gzipped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes as gzip (RFC 1952)."""
    packer = zlib.compressobj(1, wbits=31)
    async for chunk in chunks:
        if packed := await asyncio.to_thread(packer.compress, chunk):
            yield packed
    yield packer.flush()
