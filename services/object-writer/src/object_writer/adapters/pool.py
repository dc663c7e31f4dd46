"""`Compressor` on a pool of processes at low priority."""

import asyncio
import multiprocessing
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pathlib import Path

from imaging_common.errors import RetryableError
from imaging_common.objects.model import StoredInstance
from object_writer.compress import Work, pack_entries, prepare_process

DEADLINE_SECONDS = 600.0


class PoolCompressor:
    """Starts its processes at the first entry; a pool that broke is replaced."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    async def pack(self, source: Path, target: Path, work: list[Work]) -> list[StoredInstance | None]:
        """See `ports.Compressor.pack`."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._processes, context, prepare_process)
        pool = self._pool
        try:
            call = asyncio.get_running_loop().run_in_executor(pool, pack_entries, source, target, work)
            return await asyncio.wait_for(call, DEADLINE_SECONDS)
        except BrokenExecutor as error:
            if self._pool is pool:
                self.close()
            raise RetryableError("a compressing process ended") from error

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
