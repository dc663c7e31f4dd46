"""The part of the composition root that retrieves: from the PACS to the centre's cache, or for good."""

import asyncio
from collections.abc import Callable
from typing import Any

from edge_agent.adapters.database import Database
from edge_agent.adapters.migration_journal import MigrationJournal
from edge_agent.adapters.pacs_retrieve.choice import ChosenRetriever
from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.adapters.retrieval_journal import RetrievalJournal
from edge_agent.pacs import PacsSide
from edge_agent.ports import Centre
from edge_agent.settings import Settings
from edge_agent.usecases.copy_history import Migration
from edge_agent.usecases.find_instances import FindInstances
from edge_agent.usecases.harvest_headers import HeaderHarvest
from edge_agent.usecases.refuse_retrievals import NoRetrievals
from edge_agent.usecases.retrieve_studies import Retrievals
from edge_agent.usecases.tell_progress import ProgressTeller
from imaging_common.dicom import check_instance
from imaging_common.events import HospitalRegistered, RetrieveCancelled, RetrieveRequested
from imaging_common.messaging import EventPublisher


class RetrievingSide:
    """What takes the centre's requests; without a PACS it says that there is none."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        pacs: PacsSide | None,
        centre: Centre,
        publisher: EventPublisher,
        on_event: Callable[[], None],
    ) -> None:
        self.log = RetrievalJournal(database)
        self.folder = RetrieveFolder(settings.spool_dir, settings.retrieve_folder_bytes)
        progress = ProgressTeller(settings.hospital, publisher, on_event)
        self._refusing = NoRetrievals(self.log, progress)
        self.retrievals: Retrievals | None = None
        self.migration: Migration | None = None
        self.harvest: HeaderHarvest | None = None
        if pacs is not None:
            self.retriever = ChosenRetriever(settings, self.folder)
            find = FindInstances(pacs.contents, pacs.query)
            self.retrievals = Retrievals(
                settings, self.log, find, self.retriever, self.folder, centre, pacs.slots, pacs.health, progress
            )
            if not pacs.query.gives_headers:
                self.harvest = HeaderHarvest(
                    settings,
                    pacs.headers,
                    pacs.contents,
                    self.retriever,
                    self.folder,
                    pacs.slots,
                    lambda file: check_instance(file.path, with_digests=False).header,
                    lambda: bool(self.retrievals and self.retrievals.running),
                )
                self.retrievals.on_begin = self.harvest.make_way
            self.migration = Migration(settings.hospital, MigrationJournal(database), pacs.contents, self.retrievals)

    async def run(self) -> None:
        """Work until cancelled."""
        if self.retrievals is None or self.migration is None:
            await asyncio.Event().wait()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.retrievals.run())
            group.create_task(self.migration.run())
            if self.harvest is not None:
                group.create_task(self.harvest.run())

    async def request(self, request: RetrieveRequested) -> None:
        """See `Retrievals`."""
        await (self.retrievals or self._refusing).request(request)

    async def cancel(self, command: RetrieveCancelled) -> None:
        """See `Retrievals`."""
        await (self.retrievals or self._refusing).cancel(command.retrieval_id, command.study_uid)

    async def take_policy(self, policy: HospitalRegistered) -> None:
        """See `Migration`."""
        await (self.migration or self._refusing).take_policy(policy)

    def status(self) -> dict[str, Any]:
        """For `/status`. Blocking."""
        return {
            "states": self.log.states(),
            "running": self.retrievals.running if self.retrievals else {},
            "folder_bytes": self.folder.used,
            "migration": self.migration.progress if self.migration else {},
        }
