"""A hospital with a PACS: what devices or the PACS's forward rule send is a hint to look at the study in the PACS.

Its copies go to the centre's cache, which may evict them; the spool lets go of a copy only when the PACS lists it.
"""

import asyncio
import time
from collections.abc import Callable

from edge_agent.model import PacsInstance, QuietTimer, State
from edge_agent.ports import PacsContents, StudyJournal

POLL_SECONDS = 0.2
CHECK_SECONDS = 5.0


class ForwardHints:
    """One per agent with a PACS, in the place of the `Announcer`."""

    def __init__(
        self, quiet_seconds: float, journal: StudyJournal, contents: PacsContents, hint: Callable[[str], None]
    ) -> None:
        self._timer = QuietTimer(quiet_seconds)
        self._journal = journal
        self._contents = contents
        self._hint = hint
        self._checked = 0.0

    async def run(self) -> None:
        """Hint until cancelled."""
        while True:
            await self.hint_quiet_studies(time.monotonic())
            await asyncio.sleep(min(POLL_SECONDS, max(0.02, self._timer.quiet_seconds / 5)))

    async def hint_quiet_studies(self, now: float) -> None:
        """Have every study looked at that has not changed for a while; let copies go that the PACS lists."""
        changed = self._journal.studies_to_announce()
        for study_uid in self._timer.quiet(changed, now):
            self._hint(study_uid)
            await asyncio.to_thread(self._journal.pass_over, study_uid, changed[study_uid])
        if now - self._checked >= CHECK_SECONDS:
            self._checked = now
            await asyncio.to_thread(self._let_go)

    def on_listed(self, study_uid: str, instances: list[PacsInstance]) -> None:
        """The PACS lists these instances of a study; blocking."""
        self._journal.mark_listed(study_uid, {one.sop_instance_uid for one in instances})

    def _let_go(self) -> None:
        if not self._journal.usage().instances[State.SENT]:
            return
        for study_uid in self._journal.studies_unlisted():
            self.on_listed(study_uid, self._contents.instances(study_uid))
