"""Announces studies that are quiet, with a manifest and a version; the event goes to the outbox."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from edge_agent.model import QuietTimer
from edge_agent.ports import StudyJournal
from imaging_common.events import Event, ManifestEntry, RejectedEntry, StudyAvailable, StudyWithdrawn

POLL_SECONDS = 0.2


class Announcer:
    """One per agent. `on_event` tells the relay that the outbox has something."""

    def __init__(
        self, hospital: str, quiet_seconds: float, journal: StudyJournal, on_event: Callable[[], None]
    ) -> None:
        self._topic = f"edge-events-{hospital}"
        self._timer = QuietTimer(quiet_seconds)
        self._journal = journal
        self._on_event = on_event

    async def run(self) -> None:
        """Announce until cancelled."""
        while True:
            await self.announce_quiet_studies(time.monotonic())
            await asyncio.sleep(min(POLL_SECONDS, max(0.02, self._timer.quiet_seconds / 5)))

    async def announce_quiet_studies(self, now: float) -> None:
        """Give every study that has not changed for a while its next announcement."""
        for study_uid in self._timer.quiet(self._journal.studies_to_announce(), now):

            def build(
                announcement: int,
                manifest: list[ManifestEntry],
                rejected: list[RejectedEntry],
                study_uid: str = study_uid,
            ) -> tuple[str, Event]:
                return self._topic, _announcement(study_uid, announcement, manifest, rejected)

            if await asyncio.to_thread(self._journal.announce, study_uid, build):
                self._on_event()


def _announcement(
    study_uid: str, announcement: int, manifest: list[ManifestEntry], rejected: list[RejectedEntry]
) -> Event:
    """The statement about what the hospital has of a study; nothing is left only where the centre refused all."""
    if not manifest:
        return StudyWithdrawn(study_uid=study_uid, announcement=announcement, reason="every instance was rejected")
    return StudyAvailable(
        study_uid=study_uid,
        announcement=announcement,
        basis="quiet",
        instances=manifest,
        announced_at=datetime.now(UTC),
        rejected=rejected,
    )
