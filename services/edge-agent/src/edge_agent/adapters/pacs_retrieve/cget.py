"""C-GET (PS3.4 C.4.3) on associations that stay open for a while: one operation asks for a list of instances."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as STUDY_ROOT_GET
from pynetdicom.sop_class import Verification

from edge_agent.adapters.pacs_retrieve.association import close_association, is_open, open_association
from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.adapters.pacs_retrieve.identifiers import image_identifier, raise_for_status
from edge_agent.adapters.pacs_retrieve.landing import CANNOT_UNDERSTAND, Landing
from edge_agent.adapters.pacs_retrieve.syntaxes import COMMON_STORAGE, storage_contexts
from edge_agent.errors import PacsRefused, PacsUnreachable
from edge_agent.model import PacsInstance, RetrievedFile
from edge_agent.settings import Settings
from imaging_common.dicom.sinks import PartTenSink, StoreRequest

IDLE_SECONDS = 10.0
NATIVE = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


class CGetPacs:
    """`PacsRetriever` by C-GET."""

    name = "c-get"

    def __init__(self, settings: Settings, folder: RetrieveFolder) -> None:
        self._settings = settings
        self._folder = folder
        self._threads = ThreadPoolExecutor(settings.pacs_associations + 1, f"{self.name}-")
        self._idle: list[tuple[float, frozenset[str], Association]] = []
        self._busy: set[Association] = set()
        self._closing: asyncio.TimerHandle | None = None

    async def fetch(
        self, wanted: Sequence[PacsInstance], *, whole_series: bool = False
    ) -> AsyncGenerator[RetrievedFile, None]:
        """See `PacsRetriever`."""
        landing = Landing.of(self._folder, wanted)
        classes = frozenset(one.sop_class_uid for one in wanted if one.sop_class_uid) or frozenset(COMMON_STORAGE)
        async with aclosing(landing.run(lambda: self._get(landing, classes, wanted), self._threads)) as files:
            async for file in files:
                yield file
        self._close_later(landing.loop)

    async def accepted(self) -> bool:
        """Whether the PACS offers C-GET.

        Raises
        ------
        PacsUnreachable, PacsRefused
            It cannot be asked.
        """

        def ask() -> bool:
            assoc = self._open([build_context(Verification, NATIVE), build_context(STUDY_ROOT_GET, NATIVE)], [])
            try:
                return any(context.abstract_syntax == STUDY_ROOT_GET for context in assoc.accepted_contexts)
            finally:
                close_association(assoc)

        return await asyncio.to_thread(ask)

    async def close(self) -> None:
        """See `PacsRetriever`."""
        if self._closing is not None:
            self._closing.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for assoc in list(self._busy):
            await asyncio.to_thread(assoc.abort)
        await asyncio.to_thread(self._close_idle)

    def _get(self, landing: Landing, classes: frozenset[str], wanted: Sequence[PacsInstance]) -> None:
        assoc = self._take(classes)
        assoc.landing = landing
        self._busy.add(assoc)
        try:
            last = Dataset()
            for status, _ in assoc.send_c_get(image_identifier(wanted), STUDY_ROOT_GET):
                last = status
                if landing.abandoned:
                    assoc.abort()
                    return
            raise_for_status(last)
        except (RuntimeError, ValueError) as error:
            raise PacsUnreachable("the PACS ended the association", connected=True) from error
        finally:
            assoc.landing = None
            self._busy.discard(assoc)
            if is_open(assoc):
                self._idle.append((time.monotonic(), classes, assoc))
            else:
                close_association(assoc)

    def _take(self, classes: frozenset[str]) -> Association:
        """An idle association that has the contexts, or a new one."""
        for one in list(self._idle):
            if classes <= one[1]:
                try:
                    self._idle.remove(one)
                except ValueError:  # another thread was first
                    continue
                if is_open(one[2]):
                    return one[2]
                close_association(one[2])
        contexts = [build_context(STUDY_ROOT_GET, NATIVE), *storage_contexts(sorted(classes), 127)]
        assoc = self._open(contexts, sorted(classes))
        if not any(context.abstract_syntax == STUDY_ROOT_GET for context in assoc.accepted_contexts):
            close_association(assoc)
            raise PacsRefused("the PACS does not offer C-GET")
        return assoc

    def _open(self, contexts: list[PresentationContext], roles: Sequence[str]) -> Association:
        settings = self._settings
        return open_association(
            settings.ae_title,
            settings.pacs_ae_title,
            (settings.pacs_host, settings.pacs_port),
            contexts,
            roles=roles,
            open_sink=self._open_sink,
            handlers=[(evt.EVT_C_STORE, _store)],
            timeout_seconds=settings.pacs_timeout_seconds,
        )

    def _open_sink(self, request: StoreRequest) -> PartTenSink:
        return PartTenSink(self._folder.path, request, self._folder.reserve, self._folder.release)

    def _close_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._closing is not None:
            self._closing.cancel()
        self._closing = loop.call_later(IDLE_SECONDS, lambda: loop.run_in_executor(None, self._close_idle))

    def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for _, _, assoc in idle:
            close_association(assoc)


def _store(event: Any) -> int:
    """On C-STORE within a C-GET: the file goes to the operation that runs on this association."""
    landing: Landing | None = event.assoc.landing
    sink = event.assoc.dimse.take(event.request)
    if landing is None:
        if sink is not None:
            sink.discard()
        return CANNOT_UNDERSTAND
    return landing.land(sink)
