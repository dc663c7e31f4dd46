"""The connections that the agent may have open to the PACS, shared by queries and retrievals."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

HIGHEST_RESERVED = 2
"""Priorities up to this one always find a slot that nothing less urgent has taken."""


class PacsSlots:
    """A semaphore with priorities (0 is the most urgent); of several slots one stays free for priorities 0 to 2.

    Belongs to one event loop.
    """

    def __init__(self, size: int) -> None:
        self._free = max(1, size)
        self._kept = 1 if size > 1 else 0
        self._order = count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._refused = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def wanted(self) -> bool:
        """Whether somebody waits or was refused: who keeps an idle association open gives it up."""
        return self._refused or any(not future.done() for _, _, future in self._waiting)

    def on_free(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a slot was given back and nobody waits for it."""
        self._listeners.append(listener)

    @property
    def free(self) -> int:
        """Slots that nobody has."""
        return self._free

    def try_take(self, priority: int) -> bool:
        """Take a slot if there is one for this priority; the caller gives it back with `release`."""
        if not self._allows(priority):
            self._refused = True
            return False
        self._free -= 1
        return True

    def release(self) -> None:
        """Give a slot back."""
        self._free += 1
        self._refused = False
        while self._waiting and self._allows(self._waiting[0][0]):
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                self._free -= 1
                future.set_result(None)
        for listener in self._listeners:
            listener()

    @asynccontextmanager
    async def take(self, priority: int = 5) -> AsyncIterator[None]:
        """Hold a slot; waits for one, the more urgent first."""
        if not self.try_take(priority):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (priority, next(self._order), future))
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self.release()
                raise
        try:
            yield
        finally:
            self.release()

    def _allows(self, priority: int) -> bool:
        return self._free > (0 if priority <= HIGHEST_RESERVED else self._kept)
