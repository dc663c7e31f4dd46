"""One C-ECHO to the hospital's PACS (PS3.7 9.1.5) on an association of its own."""

import asyncio
import time

from pynetdicom import build_context
from pynetdicom.sop_class import Verification

from edge_agent.adapters.pacs_retrieve.association import close_association, open_association
from edge_agent.adapters.pacs_slots import PacsSlots
from edge_agent.errors import PacsRefused, PacsUnreachable
from edge_agent.settings import Settings

PRIORITY = 0
"""Somebody waits for it."""


class DimseEcho:
    """`PacsEcho` by DIMSE; takes one of the PACS's slots while it asks."""

    def __init__(self, settings: Settings, slots: PacsSlots) -> None:
        self._settings = settings
        self._slots = slots

    async def ask(self) -> int:
        """See `PacsEcho`."""
        async with self._slots.take(PRIORITY):
            return await asyncio.to_thread(self._ask)

    def _ask(self) -> int:
        settings = self._settings
        began = time.monotonic()
        assoc = open_association(
            settings.ae_title,
            settings.pacs_ae_title,
            (settings.pacs_host, settings.pacs_port),
            [build_context(Verification)],
            timeout_seconds=settings.pacs_timeout_seconds,
        )
        try:
            status = assoc.send_c_echo().get("Status")
        except (RuntimeError, ValueError, OSError) as error:
            raise PacsRefused(f"the PACS takes no C-ECHO: {type(error).__name__}") from error
        finally:
            close_association(assoc)
        if status is None:
            raise PacsUnreachable("the PACS did not answer a C-ECHO")
        if status != 0x0000:
            raise PacsRefused(f"the PACS answered C-ECHO with {status:04X}")
        return round((time.monotonic() - began) * 1000)
