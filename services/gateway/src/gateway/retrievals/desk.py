"""Who waits in this copy for images of one study at one holder; one look at the index serves all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime

from gateway.errors import HolderAway
from gateway.retrievals.model import Away, Want
from imaging_common.errors import RetryableError
from imaging_common.index.model import InstanceDocument, ListedInstance

Locate = Callable[[Sequence[str]], Awaitable[list[InstanceDocument]]]
AT_ONCE = 1000
"""Instances that one look at the index asks for."""


class Desk:
    """The waiting room of one (holder, study).

    Parameters
    ----------
    locate
        Those of the instances whose bytes lie in the centre now.
    poll_seconds
        The index is looked at so often even if no event says that it changed.
    """

    def __init__(self, key: str, locate: Locate, *, poll_seconds: float, now: datetime) -> None:
        self.key = key
        self.people = 0
        """Requests and open viewers that hold the retrieval."""
        self.idle_since = now
        self.leased = False
        self.asked: Want | None = None
        """What was last asked for on behalf of this copy."""
        self.asked_at = float("-inf")
        self.flush: asyncio.Task[None] | None = None
        self.asking = asyncio.Lock()
        self._locate = locate
        self._poll_seconds = poll_seconds
        self._waiting: dict[str, asyncio.Future[InstanceDocument]] = {}
        self._uids: dict[str, str] = {}
        self._count: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def wait_for(self, listed: ListedInstance) -> asyncio.Future[InstanceDocument]:
        """The instance once its bytes are here; shared, so wait for it shielded, and `leave` afterwards."""
        future = self._waiting.get(listed.id)
        if future is None:
            future = self._waiting[listed.id] = asyncio.get_running_loop().create_future()
            future.add_done_callback(_seen)
            self._uids[listed.id] = listed.sop_instance_uid
        self._count[listed.id] = self._count.get(listed.id, 0) + 1
        self.wake()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        return future

    def leave(self, key: str) -> None:
        """One less waits for this instance; with nobody left it is not looked for any more."""
        self._count[key] -= 1
        if not self._count[key]:
            del self._count[key]
            if key in self._waiting:
                self._forget(key).cancel()

    @property
    def waiting(self) -> list[str]:
        """SOP Instance UIDs that are waited for, oldest first."""
        return list(self._uids.values())

    def wake(self) -> None:
        """Look at the index now."""
        self._wake.set()

    def fail(self, away: Away, uids: Sequence[str] | None = None) -> None:
        """Nothing more comes: for all who wait, or for these instances only."""
        for key, uid in list(self._uids.items()):
            if uids is None or uid in uids:
                future = self._forget(key)
                if not future.done():
                    future.set_exception(HolderAway(away))

    async def stop(self) -> None:
        """Nobody waits any more."""
        for task in (self._task, self.flush):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})

    def _forget(self, key: str) -> asyncio.Future[InstanceDocument]:
        del self._uids[key]
        return self._waiting.pop(key)

    async def _watch(self) -> None:
        while self._waiting:
            self._wake.clear()
            keys = list(self._waiting)
            for start in range(0, len(keys), AT_ONCE):
                with suppress(RetryableError):  # The index is away: the next round asks again.
                    for found in await self._locate(keys[start : start + AT_ONCE]):
                        if found.id in self._waiting and not (future := self._forget(found.id)).done():
                            future.set_result(found)
            if self._waiting and not self._wake.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await self._wake.wait()


def _seen(future: asyncio.Future[InstanceDocument]) -> None:
    """Whoever waited may have left: an error that nobody asks for is no error of the process."""
    if not future.cancelled():
        future.exception()
