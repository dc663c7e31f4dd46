"""Writes one pack's data: entries are fetched in groups, compressed by other processes, and joined in one file."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from imaging_common.objects.model import StoredInstance
from imaging_common.objects.store import ObjectDamaged, ObjectNotFound, ObjectStore
from object_writer.compress import COPY_BYTES, Work
from object_writer.model import Source, groups, moved, pixel_shape
from object_writer.ports import Compressor

GROUP_BYTES = 32 * 1024 * 1024
GROUP_COUNT = 64
READ_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class Written:
    """A pack's data in a file."""

    path: Path
    instances: list[StoredInstance] = field(default_factory=list)
    damaged: list[Source] = field(default_factory=list)
    """Left out: their bytes are gone, or do not give the file that was received."""
    size: int = 0
    digest: str = ""


class WritePack:
    """Flat memory and bounded scratch: a pack, and one group per compressing process and one more."""

    def __init__(self, store: ObjectStore, compressor: Compressor, processes: int) -> None:
        self._store = store
        self._compressor = compressor
        self._ahead = processes + 1

    async def __call__(
        self, sources: list[Source], folder: Path, *, keep: bool, renew: Callable[[], Awaitable[None]]
    ) -> Written:
        """Write the sources in their order to a file in `folder`.

        Parameters
        ----------
        keep
            Compress nothing.
        renew
            Called after each group.
        """
        written = Written(folder / "pack")
        digest = hashlib.sha256()
        running: deque[asyncio.Task[tuple[Path, list[StoredInstance | None]]]] = deque()
        waiting = deque(enumerate(groups(sources, GROUP_BYTES, GROUP_COUNT)))
        joined: deque[list[Source]] = deque(group for _, group in waiting)
        try:
            with written.path.open("wb") as out:
                while waiting or running:
                    while waiting and len(running) < self._ahead:
                        number, group = waiting.popleft()
                        running.append(asyncio.create_task(self._compress(group, folder / f"{number}", keep=keep)))
                    path, entries = await running.popleft()
                    await asyncio.to_thread(append, path, out, digest)
                    path.unlink()
                    _add(written, joined.popleft(), entries)
                    await renew()
        finally:
            for task in running:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({task})
        written.digest = digest.hexdigest()
        return written

    async def _compress(
        self, group: list[Source], path: Path, *, keep: bool
    ) -> tuple[Path, list[StoredInstance | None]]:
        """Fetch and compress one group; a file, and per source how it lies in it."""
        fetched, target = path.with_suffix(".in"), path.with_suffix(".out")
        present = await self._fetch(group, fetched)
        work = [
            Work(source.instance.model_copy(update={"header": {}}), at, None if keep else pixel_shape(source.instance))
            for source, at in zip(group, present, strict=True)
            if at is not None
        ]
        results = iter(await self._compressor.pack(fetched, target, work))
        fetched.unlink()
        entries: list[StoredInstance | None] = []
        for source, at in zip(group, present, strict=True):
            entry = None if at is None else next(results)
            whole = {"header": source.instance.header}
            entries.append(None if entry is None else entry.model_copy(update=whole))
        return target, entries

    async def _fetch(self, group: list[Source], path: Path) -> list[int | None]:
        """Write the entries' bytes to `path`; where each starts, None for what the store does not have."""
        places: list[int | None] = []
        with path.open("wb") as out:
            for source in group:
                start = out.tell()
                try:
                    async for piece in self._store.stream(
                        source.bucket, source.key, source.instance.offset, source.instance.length, READ_BYTES
                    ):
                        await asyncio.to_thread(out.write, piece)
                    places.append(start)
                except (ObjectNotFound, ObjectDamaged):
                    out.seek(start)
                    out.truncate()
                    places.append(None)
        return places


def append(path: Path, out: BinaryIO, digest: "hashlib._Hash") -> None:
    """Copy a file to the end of `out`. Blocking."""
    with path.open("rb") as file:
        while piece := file.read(COPY_BYTES):
            digest.update(piece)
            out.write(piece)


def _add(written: Written, group: list[Source], entries: list[StoredInstance | None]) -> None:
    start = written.size
    for source, entry in zip(group, entries, strict=True):
        if entry is None:
            written.damaged.append(source)
            continue
        written.instances.append(moved(entry, start + entry.offset))
        written.size += entry.length
