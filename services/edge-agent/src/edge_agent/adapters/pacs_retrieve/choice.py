"""Chooses the way in which the PACS gives its images."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from edge_agent.adapters.pacs_retrieve.cget import CGetPacs
from edge_agent.adapters.pacs_retrieve.cmove import CMovePacs
from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.adapters.pacs_retrieve.wado import WadoPacs
from edge_agent.errors import PacsRefused
from edge_agent.model import PacsInstance, RetrievedFile
from edge_agent.ports import PacsRetriever
from edge_agent.settings import Settings
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)


class ChosenRetriever:
    """`PacsRetriever` by the setting `pacs_retrieve`; `auto` asks the PACS whether it offers C-GET.

    Once it refused it is asked again.

    Raises
    ------
    OSError
        The port for C-MOVE is taken.
    """

    def __init__(self, settings: Settings, folder: RetrieveFolder) -> None:
        way = settings.pacs_retrieve
        if way == "auto" and settings.pacs_dicomweb_url:
            way = "wado-rs"
        self._get = CGetPacs(settings, folder) if way in ("auto", "c-get") else None
        self._move = CMovePacs(settings, folder) if way in ("auto", "c-move") and settings.move_port else None
        self._chosen: PacsRetriever | None = None
        if way == "wado-rs":
            self._chosen = WadoPacs(settings, folder)
        elif self._get is None or self._move is None:
            self._chosen = self._get or self._move
        self._choosing = asyncio.Lock()

    @property
    def name(self) -> str:
        """See `PacsRetriever`; `auto` before the PACS was asked, `none` where there is no way."""
        return self._chosen.name if self._chosen else "auto" if self._get else "none"

    async def fetch(
        self, wanted: Sequence[PacsInstance], *, whole_series: bool = False
    ) -> AsyncGenerator[RetrievedFile, None]:
        """See `PacsRetriever`."""
        chosen = self._chosen or await self._choose()
        try:
            async with aclosing(chosen.fetch(wanted, whole_series=whole_series)) as files:
                async for file in files:
                    yield file
        except PacsRefused:
            if self._get is not None and self._move is not None:
                self._chosen = None  # what the PACS offers may have changed: it is asked again
            raise

    async def close(self) -> None:
        """See `PacsRetriever`."""
        for one in {self._chosen, self._get, self._move} - {None}:
            assert one is not None
            await one.close()

    async def _choose(self) -> PacsRetriever:
        async with self._choosing:
            if self._chosen is None:
                if self._get is None or self._move is None:
                    raise PacsRefused("c-move is set but there is no move_port")
                self._chosen = self._get if await self._get.accepted() else self._move
                _log.info("retrieve-way-chosen", way=self._chosen.name)
            return self._chosen
