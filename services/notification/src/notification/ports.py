"""What the notification service needs of its store."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from imaging_common.events import NoticeRaised


class NoticeBook(Protocol):
    """Which notices were raised."""

    async def raise_once(
        self, notice: NoticeRaised, *, cause: str = "", by: str = "", at: datetime | None = None
    ) -> bool:
        """Keep the notice, its event, and that it is to be delivered on other channels, in one transaction.

        False, and nothing is sent, when it was raised before.

        Parameters
        ----------
        cause
            The event's id: whom two notices of one event reach is written to once. Empty: the notice is its own cause.
        by
            Who did it: not written to, also as one of a group.
        at
            When it happened; without, when it was raised.
        """
        ...

    async def settle(self, link: str, kinds: Sequence[str], before: datetime) -> None:
        """What happened before to the case of this link, of kinds that begin so, need not be sent any more."""
        ...


class SeenBook(Protocol):
    """Who has seen which notice."""

    async def seen(self, notice_id: str, user: str) -> None:
        """Keep it; what still waits to be sent to this person about it is not needed any more."""
        ...
