"""What the feed needs of its store."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from notification.feed.model import FeedEntry, FeedState, Organisation, Snapshot, Statement


class FeedStore(Protocol):
    """Organisations, their residents, the last statement about everything, and what each organisation is told."""

    async def take(self, statement: Statement) -> None:
        """Keep the statement if it is the last about its aggregate, and put it into the feed of whom it concerns.

        One transaction; the same statement again changes nothing. A study that comes to a resident brings its reports.
        """
        ...

    async def link(self, resident: str, organisation: str) -> None:
        """The organisation's EHR keeps this resident's record; the first time begins a snapshot."""
        ...

    async def merge(self, resident: str, into: str) -> None:
        """Who keeps the record of the one keeps that of the other."""
        ...

    async def ensure(self, organisation: Organisation) -> None:
        """Add it unless it is there; what an operator changed since stays."""
        ...

    async def add(self, organisation: Organisation) -> None:
        """Add it, and begin its snapshot; raises OrganisationExists."""
        ...

    async def change(self, organisation: Organisation) -> Organisation:
        """Set its hospitals if `revision` is the one that is kept; new hospitals begin a snapshot.

        Raises
        ------
        NoOrganisation, OrganisationChanged
        """
        ...

    async def organisations(self) -> list[Organisation]:
        """All, by id."""
        ...

    async def state(self, organisation: str) -> FeedState:
        """How far its feed is."""
        ...

    async def entries(self, organisation: str, after: int, limit: int) -> list[FeedEntry]:
        """What follows a number, in order."""
        ...

    async def seq_at(self, organisation: str, since: datetime) -> int:
        """The number before the first entry of that time or later."""
        ...

    async def published(self, organisation: str, seq: int) -> None:
        """Up to here it is on the topic."""
        ...

    async def step_snapshot(self) -> bool:
        """Do one batch of the oldest job; False: there is nothing to do."""
        ...

    async def snapshots(self, organisation: str) -> Sequence[Snapshot]:
        """Its jobs, the newest first."""
        ...
