"""`NoticeBook` and `SeenBook` in memory, for unit tests."""

from collections.abc import Sequence
from datetime import datetime

from imaging_common.events import NoticeRaised


class FakeNoticeBook:
    """Keeps the notices that were raised, and who saw them."""

    def __init__(self) -> None:
        self.raised: dict[str, NoticeRaised] = {}
        self.read: set[tuple[str, str]] = set()
        self.settled: list[tuple[str, tuple[str, ...]]] = []

    async def raise_once(
        self, notice: NoticeRaised, *, cause: str = "", by: str = "", at: datetime | None = None
    ) -> bool:
        """See `NoticeBook.raise_once`."""
        return self.raised.setdefault(notice.notice_id, notice) is notice

    async def settle(self, link: str, kinds: Sequence[str], before: datetime) -> None:
        """See `NoticeBook.settle`."""
        self.settled.append((link, tuple(kinds)))

    async def seen(self, notice_id: str, user: str) -> None:
        """See `SeenBook.seen`."""
        self.read.add((notice_id, user))
