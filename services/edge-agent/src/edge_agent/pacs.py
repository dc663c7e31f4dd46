"""The part of the composition root that a hospital with a PACS has: questions, watch, forward rule, state."""

from collections.abc import Callable
from datetime import UTC, datetime

from edge_agent.adapters.catalogue_door import HttpCatalogueDoor
from edge_agent.adapters.centre_client import CentreIdentity
from edge_agent.adapters.header_journal import HeaderJournal
from edge_agent.adapters.journal import Journal
from edge_agent.adapters.pacs.echo import DimseEcho
from edge_agent.adapters.pacs.health import LastCall
from edge_agent.adapters.pacs.leaving_out import OwnContents
from edge_agent.adapters.pacs.query_dimse import DimseQuery
from edge_agent.adapters.pacs.query_web import WebQuery
from edge_agent.adapters.pacs_journal import PacsJournal
from edge_agent.adapters.pacs_slots import PacsSlots
from edge_agent.adapters.token import AccessToken
from edge_agent.adapters.write_back_journal import WriteBackJournal
from edge_agent.ports import CatalogueDoor, PacsQuery
from edge_agent.settings import Settings
from edge_agent.usecases.hint_forwarded import ForwardHints
from edge_agent.usecases.watch_pacs import PacsWatch
from imaging_common.events import PacsState


class PacsSide:
    """What watches one hospital's PACS; `slots`, `health` and `contents` are for the retrievals too."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        token: AccessToken | None,
        on_event: Callable[[], None],
        door: CatalogueDoor | None = None,
    ) -> None:
        self.slots = PacsSlots(settings.pacs_associations)
        self.health = LastCall()
        self.echo = DimseEcho(settings, self.slots)
        self.contents = PacsJournal(journal, settings.hospital)
        self.headers = HeaderJournal(journal)
        asked = (WebQuery if settings.pacs_dicomweb_url else DimseQuery)(settings, self.slots, self.health)
        query = OwnContents(asked, WriteBackJournal(journal, settings.hospital))
        self.query: PacsQuery = query
        self._door = door or HttpCatalogueDoor(settings.ingest_url, token, CentreIdentity.of(settings))
        self.forward = ForwardHints(settings.quiet_seconds, journal, self.contents, lambda uid: self.watch.hint(uid))
        self.watch = PacsWatch(
            settings, query, self.contents, self._door, on_event, self.forward.on_listed, self.headers
        )

    def state(self) -> PacsState | None:
        """For the heartbeat and `/status`; None: the PACS was not called yet."""
        called = self.health.state
        if called is None:
            return None
        counts = self.contents.counts()
        ended = counts.last_sweep_at
        return PacsState(
            reachable=called[0],
            since=called[1],
            last_sweep_at=None if ended is None else datetime.fromtimestamp(ended, UTC),
            studies=counts.studies,
            backfill_done=counts.backfill_done,
            waiting=counts.waiting,
        )

    async def close(self) -> None:
        """Close the connections to the centre."""
        if isinstance(self._door, HttpCatalogueDoor):
            await self._door.close()
