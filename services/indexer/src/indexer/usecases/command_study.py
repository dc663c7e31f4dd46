"""What an operator orders about a study enters: deleted, restored, held; the study that says so leaves."""

from collections.abc import Callable
from datetime import UTC, datetime

from imaging_common.events import StudyDeletionRequested, StudyHeld, StudyRestored
from indexer.model import Document
from indexer.ports import Index, StudyUnit
from indexer.usecases.restate_study import restate_study


class CommandStudy:
    """Of the commands about one thing (deletion, hold) the highest revision counts, whenever it comes."""

    def __init__(self, index: Index, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._index = index
        self._now = now

    async def __call__(self, event: StudyDeletionRequested | StudyRestored | StudyHeld) -> None:
        """Obey, unless a later command about the same thing is known."""
        about = "held_revision" if isinstance(event, StudyHeld) else "deleted_revision"
        state = {**_state(event), about: event.revision}
        tier = await self._index.tier_of(event.holder)

        async def work(unit: StudyUnit) -> None:
            study = await unit.study()
            if (study or {}).get(about, 0) >= event.revision:
                return
            await restate_study(
                unit, event.holder, event.study_uid, tier=tier, epoch=self._index.epoch, now=self._now(), state=state
            )

        await self._index.change(event.holder, event.study_uid, work)


def _state(event: StudyDeletionRequested | StudyRestored | StudyHeld) -> Document:
    if isinstance(event, StudyHeld):
        return {"held": event.held}
    if isinstance(event, StudyRestored):
        return {"deleted": False, "purge_after": None}
    return {"deleted": True, "purge_after": event.purge_after}
