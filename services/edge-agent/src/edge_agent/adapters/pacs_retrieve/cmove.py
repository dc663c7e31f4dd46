"""C-MOVE (PS3.4 C.4.2) to the agent's own move AE, whose acceptor takes only what an operation waits for."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as STUDY_ROOT_MOVE

from edge_agent.adapters.pacs_retrieve.association import close_association, open_association
from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.adapters.pacs_retrieve.identifiers import image_identifier, raise_for_status
from edge_agent.adapters.pacs_retrieve.landing import CANNOT_UNDERSTAND, Landing
from edge_agent.errors import PacsUnreachable
from edge_agent.model import AllowList, PacsInstance, RetrievedFile
from edge_agent.settings import Settings
from imaging_common.dicom.association import HardenedServer, listen, make_ae
from imaging_common.dicom.sinks import PartTenSink, StoreRequest

NATIVE = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


class CMovePacs:
    """`PacsRetriever` by C-MOVE; listens on `move_port` as soon as it is made.

    Raises
    ------
    OSError
        The port is taken.
    """

    name = "c-move"

    def __init__(self, settings: Settings, folder: RetrieveFolder) -> None:
        self._settings = settings
        self._folder = folder
        self._threads = ThreadPoolExecutor(settings.pacs_associations + 1, f"{self.name}-")
        self._ae_title = settings.move_ae_title or f"{settings.ae_title}_MV"
        self._waiting: dict[str, list[Landing]] = {}
        self._busy: set[Association] = set()
        self._server = HardenedServer(
            make_ae(self._ae_title),
            listen(settings.dimse_host, settings.move_port),
            AllowList(f"{settings.allowed_callers},{settings.pacs_ae_title}@*").allows,
            self._open_sink,
            [(evt.EVT_C_STORE, self._store)],
        )
        self._server.start()

    async def close(self) -> None:
        """See `PacsRetriever`."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for assoc in list(self._busy):
            await asyncio.to_thread(assoc.abort)
        await asyncio.to_thread(self._server.stop_accepting)
        self._server.server_close()

    async def fetch(
        self, wanted: Sequence[PacsInstance], *, whole_series: bool = False
    ) -> AsyncGenerator[RetrievedFile, None]:
        """See `PacsRetriever`."""
        landing = Landing.of(self._folder, wanted)
        for uid in landing.wanted:
            self._waiting.setdefault(uid, []).append(landing)
        try:
            async with aclosing(landing.run(lambda: self._move(landing, wanted), self._threads)) as files:
                async for file in files:
                    yield file
        finally:
            for uid in landing.wanted:
                self._waiting[uid].remove(landing)
                if not self._waiting[uid]:
                    del self._waiting[uid]

    def _move(self, landing: Landing, wanted: Sequence[PacsInstance]) -> None:
        settings = self._settings
        assoc = open_association(
            settings.ae_title,
            settings.pacs_ae_title,
            (settings.pacs_host, settings.pacs_port),
            [build_context(STUDY_ROOT_MOVE, NATIVE)],
            timeout_seconds=settings.pacs_timeout_seconds,
        )
        self._busy.add(assoc)
        try:
            last = Dataset()
            for status, _ in assoc.send_c_move(image_identifier(wanted), self._ae_title, STUDY_ROOT_MOVE):
                last = status
                if landing.abandoned:
                    assoc.abort()
                    return
            raise_for_status(last)
        except (RuntimeError, ValueError) as error:
            raise PacsUnreachable("the PACS ended the association", connected=True) from error
        finally:
            self._busy.discard(assoc)
            close_association(assoc)

    def _open_sink(self, request: StoreRequest) -> PartTenSink:
        return PartTenSink(self._folder.path, request, self._folder.reserve, self._folder.release)

    def _store(self, event: Any) -> int:
        """On C-STORE from the PACS: the file goes to the operation that waits for it, else nowhere."""
        sink: PartTenSink | None = event.assoc.dimse.take(event.request)
        uid = sink.request.sop_instance_uid if sink is not None else ""
        landing = next((one for one in list(self._waiting.get(uid, ())) if uid not in one.came), None)
        if landing is None:
            if sink is not None:
                sink.discard()
            return CANNOT_UNDERSTAND
        return landing.land(sink)
