"""A hospital no longer has a study: it is not listed any more, with all it holds kept as history."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from imaging_common.events import StudyWithdrawn
from indexer.model import Announcement
from indexer.ports import Index, StudyUnit
from indexer.usecases.restate_study import restate_study


class WithdrawStudy:
    """Withdrawals and announcements share one count: the highest number says whether the study is there."""

    def __init__(self, index: Index, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._index = index
        self._now = now

    async def __call__(self, hospital: str, event: StudyWithdrawn) -> None:
        """Take what `hospital` says about its own study; a study the centre keeps for it now stays."""
        tier = await self._index.tier_of(hospital)

        async def work(unit: StudyUnit) -> None:
            known = await unit.announcement()
            if known is not None and known.number >= event.announcement:
                return
            former = known or Announcement(event.announcement, "quiet", announced_at=None)
            await unit.put_announcement(replace(former, number=event.announcement, withdrawn=True))
            await restate_study(unit, hospital, event.study_uid, tier=tier, epoch=self._index.epoch, now=self._now())

        await self._index.change(hospital, event.study_uid, work)
