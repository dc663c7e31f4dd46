"""The centre lost something: studies are announced again, and what still lies in the spool is sent once more."""

import asyncio
from collections.abc import Callable

from edge_agent.ports import StudyJournal
from edge_agent.usecases.watch_pacs import PacsWatch
from imaging_common.events import AnnounceRequested, InstancesWanted
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)


class SayAgain:
    """One per agent.

    Parameters
    ----------
    watch
        What announces the studies of the hospital's PACS; None: it has none.
    on_waiting
        Told when there is something to send.
    """

    def __init__(self, journal: StudyJournal, watch: PacsWatch | None, on_waiting: Callable[[], None]) -> None:
        self._journal = journal
        self._watch = watch
        self._on_waiting = on_waiting

    async def announce(self, request: AnnounceRequested) -> int:
        """Announce again; how many studies will be."""
        if self._watch is not None:
            count = await self._watch.announce_again(request.study_uid)
        else:
            count = await asyncio.to_thread(self._journal.announce_again, request.study_uid)
        _log.info("announcing-again", studies=count)
        return count

    async def send(self, request: InstancesWanted) -> int:
        """Send again; how many instances will be. What is not here any more is lost to this agent."""
        count = await asyncio.to_thread(self._journal.send_again, request.study_uid, request.instances)
        _log.info("sending-again", instances=count, not_here=len(request.instances) - count)
        if count:
            self._on_waiting()
        return count
