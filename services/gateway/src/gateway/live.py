"""Live pages: each event goes to the open pages of those it concerns, as a name; a page then asks for what changed.

Memory is bounded: a page that does not read collects names, each at most once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from pymongo.errors import PyMongoError

from gateway.model import KeptNotice, tells
from imaging_common.access import Subject
from imaging_common.errors import ImagingError

SubjectNow = Callable[[], Awaitable[Subject]]
MAX_NAMES = 200


class Listener:
    """One open page's stream."""

    def __init__(self, subject_now: SubjectNow) -> None:
        self.subject_now = subject_now
        self._names: dict[str, None] = {}
        self._notices: dict[str, KeptNotice] = {}
        self._arrived = asyncio.Event()

    def tell(self, names: list[str]) -> None:
        """Have the page learn of these; with too many, it is told to look at everything again."""
        self._names |= dict.fromkeys(names)
        if len(self._names) > MAX_NAMES:
            self._names = {"resync": None}
        self._arrived.set()

    def show(self, notice: KeptNotice) -> None:
        """Have the page learn of a notice; of too many it learns the last."""
        self._notices[notice.notice.notice_id] = notice
        if len(self._notices) > MAX_NAMES:
            del self._notices[next(iter(self._notices))]
        self.tell(["notices"])

    def notices(self) -> list[KeptNotice]:
        """The notices that came since the last call."""
        found, self._notices = list(self._notices.values()), {}
        return found

    async def next(self) -> list[str]:
        """What happened since the last call; waits until something has."""
        await self._arrived.wait()
        self._arrived.clear()
        names, self._names = list(self._names), {}
        return names


class LiveHub:
    """All open pages of this copy of the gateway."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    @asynccontextmanager
    async def listen(self, subject_now: SubjectNow) -> AsyncIterator[Listener]:
        """A stream for one page, which begins with `resync`: what came between page and stream is not missed."""
        listener = Listener(subject_now)
        listener.tell(["resync"])
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def publish(self, event: Any) -> None:
        """Tell every page whose user the event concerns."""
        for listener in list(self._listeners):
            try:
                names = tells(await listener.subject_now(), event)
            except (ImagingError, PyMongoError):
                names = ["resync"]  # Whether it concerns them cannot be asked now; the page asks for what it shows.
            if names and isinstance(event, KeptNotice) and names != ["resync"]:
                listener.show(event)
            elif names:
                listener.tell(names)
