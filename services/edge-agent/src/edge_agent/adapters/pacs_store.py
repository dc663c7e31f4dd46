"""C-STORE of a report's objects to the hospital's PACS, or to what takes reports in its place (PS3.4 B)."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext

from pydicom import dcmread
from pydicom.dataset import FileDataset

from edge_agent.adapters.pacs_retrieve.association import close_association, open_association
from edge_agent.adapters.pacs_slots import PacsSlots
from edge_agent.errors import PacsRefused, PacsUnreachable
from edge_agent.services.sending import contexts_for
from edge_agent.settings import Settings
from edge_agent.writebacks import FetchedObject

PRIORITY = 3
"""Behind what somebody waits for, before prefetch."""


class DimseStore:
    """`PacsStore` by DIMSE.

    Parameters
    ----------
    slots
        The PACS's; None: reports go elsewhere.
    """

    def __init__(self, settings: Settings, slots: PacsSlots | None) -> None:
        self._settings = settings
        self._slots = slots

    async def store(self, files: Sequence[FetchedObject]) -> dict[str, int]:
        """See `PacsStore`."""
        async with self._slots.take(PRIORITY) if self._slots else nullcontext():
            return await asyncio.to_thread(self._store, files)

    def _store(self, files: Sequence[FetchedObject]) -> dict[str, int]:
        settings = self._settings
        objects = [dcmread(one.path) for one in files]
        called, host, port = settings.write_back_target
        assoc = open_association(
            settings.ae_title,
            called,
            (host, port),
            contexts_for((str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in objects),
            timeout_seconds=settings.pacs_timeout_seconds,
        )
        answers: dict[str, int] = {}
        try:
            for number, one in enumerate(objects, start=1):
                answers[str(one.SOPInstanceUID)] = self._send(assoc, one, number)
        except PacsUnreachable:
            if not answers:
                raise  # what was taken before it broke off is told; the rest is sent by the next try
        finally:
            close_association(assoc)
        return answers

    @staticmethod
    def _send(assoc: object, one: FileDataset, number: int) -> int:
        try:
            answer = assoc.send_c_store(one, msg_id=number)  # type: ignore[attr-defined]
        except ValueError as error:
            raise PacsRefused("the PACS takes no encapsulated documents or key objects") from error
        except (RuntimeError, AttributeError, OSError) as error:
            raise PacsUnreachable(f"a C-STORE broke off: {type(error).__name__}") from error
        if "Status" not in answer:
            raise PacsUnreachable("the PACS did not answer a C-STORE")
        return int(answer.Status)
