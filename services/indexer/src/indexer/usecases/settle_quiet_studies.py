"""Studies without an edge agent are settled once their quiet timer, which lies in the index, has run out."""

from collections.abc import Callable
from datetime import UTC, datetime

from indexer.ports import Index, StudyUnit
from indexer.usecases.restate_study import restate_study


class SettleQuietStudies:
    """Asked again and again; what was due while no copy ran is due then."""

    def __init__(self, index: Index, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._index = index
        self._now = now

    async def __call__(self) -> int:
        """Settle what is due; how many studies."""
        due = await self._index.quiet_due(self._now())
        for holder, study_uid in due:
            tier = await self._index.tier_of(holder)

            async def work(unit: StudyUnit, holder: str = holder, uid: str = study_uid, tier: str = tier) -> None:
                study, now = await unit.study(), self._now()
                if study is None or study["quiet_due"] is None or study["quiet_due"] > now:
                    return
                await restate_study(unit, holder, uid, tier=tier, epoch=self._index.epoch, now=now, quiet_over=True)

            await self._index.change(holder, study_uid, work)
        return len(due)
