"""`NoticeBook` in memory, for unit tests."""

from imaging_common.events import NoticeRaised


class FakeNoticeBook:
    """Keeps the notices that were raised."""

    def __init__(self) -> None:
        self.raised: dict[str, NoticeRaised] = {}

    async def raise_once(self, notice: NoticeRaised) -> bool:
        """See `NoticeBook.raise_once`."""
        return self.raised.setdefault(notice.notice_id, notice) is notice
