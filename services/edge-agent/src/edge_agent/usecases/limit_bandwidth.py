"""Limits what leaves the hospital for retrievals: a token bucket in which the most urgent goes first."""

import asyncio
import heapq
import time
from itertools import count

BURST_SECONDS = 1.0


class Bandwidth:
    """`take` returns when so many bytes may go; a batch larger than what is left is paid for afterwards.

    Parameters
    ----------
    bytes_per_second
        0: no limit.
    """

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._balance = bytes_per_second * BURST_SECONDS
        self._at = time.monotonic()
        self._order = count()
        self._waiting: list[tuple[tuple[int, float], int, int, asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, size: int, urgency: tuple[int, float]) -> None:
        """Wait for leave to send `size` bytes."""
        if not self._rate:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._order), size, future))
        self._pay()
        await future

    def _pay(self) -> None:
        now = time.monotonic()
        self._balance = min(self._rate * BURST_SECONDS, self._balance + (now - self._at) * self._rate)
        self._at = now
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._balance > 0:
            _, _, size, future = heapq.heappop(self._waiting)
            if not future.done():
                self._balance -= size
                future.set_result(None)
        if self._waiting:
            wait = max(0.001, (1 - self._balance) / self._rate)
            self._timer = asyncio.get_running_loop().call_later(wait, self._pay)
