"""A statement about who a patient is becomes the link of all of that patient's studies, earlier and later ones."""

from collections.abc import Callable
from datetime import UTC, datetime

from imaging_common.events import PatientLinked, PatientUnlinked, ResidentMerged
from imaging_common.telemetry import get_logger
from indexer.links import Links
from indexer.ports import Index, StudyUnit
from indexer.usecases.restate_study import restate_study

BATCH = 100
"""Studies per look; each is changed in a transaction of its own."""
log = get_logger(__name__)


class LinkPatient:
    """Idempotent and resumable: the link is kept first, and counts as applied once no study says something else."""

    def __init__(self, index: Index, links: Links, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._index = index
        self._links = links
        self._now = now

    async def __call__(self, event: PatientLinked | PatientUnlinked) -> None:
        """Keep the statement, then have all of the patient's studies say so; emits StudyChanged for each."""
        link = await self._links.hear(event)
        if link["revision"] != link.get("applied_revision", 0):
            await self._apply(link["_id"])

    async def resume(self) -> int:
        """Apply what a killed process left; how many patients that were."""
        unfinished = await self._links.unapplied(BATCH)
        for key in unfinished:
            await self._apply(key)
        return len(unfinished)

    async def _apply(self, key: str) -> None:
        """Restate the studies that say something else than the link says now, until none does."""
        count = 0
        while True:
            link, behind = await self._links.behind(key, BATCH)
            if not behind:
                break
            for holder, study_uid in behind:
                await self._restate(holder, study_uid)
            count += len(behind)
        await self._links.mark_applied(link)
        log.info("patient linked", linked_by=link["linked_by"], studies=count)

    async def _restate(self, holder: str, study_uid: str) -> None:
        tier = await self._index.tier_of(holder)

        async def work(unit: StudyUnit) -> None:
            if await unit.study() is not None:
                await restate_study(
                    unit, holder, study_uid, tier=tier, epoch=self._index.epoch, now=self._now(), relink=True
                )

        await self._index.change(holder, study_uid, work)


class MergeResidents:
    """Keeps the redirect; links are followed when read, so that no study is rewritten."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def __call__(self, event: ResidentMerged) -> None:
        """Keep it, unless a later statement about this resident is known."""
        await self._links.merge(event)
