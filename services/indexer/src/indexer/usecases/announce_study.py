"""A hospital's announcement of a study enters; the study's completeness leaves. The hospital is the topic's."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from imaging_common.events import StudyAvailable
from indexer.model import Announcement
from indexer.ports import Index, StudyUnit
from indexer.usecases.restate_study import restate_study


class AnnounceStudy:
    """Keeps the announcement with the highest number; an older or repeated one changes nothing."""

    def __init__(self, index: Index, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._index = index
        self._now = now

    async def __call__(self, hospital: str, event: StudyAvailable) -> None:
        """Take what `hospital` says about its own study."""
        tier = await self._index.tier_of(hospital)
        announcement = Announcement(
            event.announcement,
            event.basis,
            tuple(event.instances),
            tuple(event.rejected),
            announced_at=event.announced_at,
        )

        async def work(unit: StudyUnit) -> None:
            known = await unit.announcement()
            if known is not None and known.number >= announcement.number:
                return
            if known is not None and known.listed is not None:  # it lies in the PACS, and came through the agent
                kept = replace(announcement, listed=known.listed, facts_digest=known.facts_digest)
                await unit.put_announcement(kept)
            else:
                await unit.put_announcement(announcement)
            await restate_study(unit, hospital, event.study_uid, tier=tier, epoch=self._index.epoch, now=self._now())

        await self._index.change(hospital, event.study_uid, work)
