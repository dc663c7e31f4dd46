"""`Compressor` on a pool of processes at low priority."""

import asyncio
import multiprocessing
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor

from imaging_common.errors import RetryableError
from imaging_common.objects.model import StoredInstance
from object_writer.compress import lower_priority, pack_entry
from object_writer.model import PixelShape

DEADLINE_SECONDS = 600.0


class PoolCompressor:
    """Starts its processes at the first entry; a pool that broke is replaced."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    async def pack(
        self, file: bytes, instance: StoredInstance, shape: PixelShape | None
    ) -> tuple[bytes, StoredInstance]:
        """See `ports.Compressor.pack`."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._processes, context, lower_priority)
        call = asyncio.get_running_loop().run_in_executor(self._pool, pack_entry, file, instance, shape)
        try:
            return await asyncio.wait_for(call, DEADLINE_SECONDS)
        except BrokenExecutor as error:
            self.close()
            raise RetryableError("a compressing process ended") from error

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
