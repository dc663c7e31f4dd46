"""What the notification service needs of its store."""

from typing import Protocol

from imaging_common.events import NoticeRaised


class NoticeBook(Protocol):
    """Which notices were raised."""

    async def raise_once(self, notice: NoticeRaised) -> bool:
        """Keep the notice and its event in one transaction; False, and nothing is sent, when it was raised before."""
        ...
