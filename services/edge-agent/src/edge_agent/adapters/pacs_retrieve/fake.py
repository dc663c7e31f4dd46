"""A PACS in memory that gives files as it is told."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.errors import PacsUnreachable
from edge_agent.model import PacsInstance, RetrievedFile


class FakePacs:
    """`PacsRetriever` with settable faults; `asked` keeps every operation's SOP Instance UIDs."""

    name = "fake"

    def __init__(self, folder: RetrieveFolder) -> None:
        self._folder = folder
        self.asked: list[list[str]] = []
        self.gone: set[str] = set()
        self.breaks_at: set[str] = set()
        """Instances at which it breaks off, each time."""
        self.away: Exception | None = None
        self.gate: Callable[[list[str]], asyncio.Event | None] = lambda _: None
        """Which event an operation waits for before it gives anything."""
        self.data = b"x" * 1000

    async def fetch(
        self, wanted: Sequence[PacsInstance], *, whole_series: bool = False
    ) -> AsyncGenerator[RetrievedFile, None]:
        """See `PacsRetriever`."""
        uids = [one.sop_instance_uid for one in wanted]
        assert len({one.series_uid for one in wanted}) == 1
        self.asked.append(uids)
        if (gate := self.gate(uids)) is not None:
            await gate.wait()
        if self.away is not None:
            raise self.away
        for one in wanted:
            if one.sop_instance_uid in self.breaks_at:
                raise PacsUnreachable("it broke off", connected=True)
            if one.sop_instance_uid in self.gone:
                continue
            path = self._folder.new_path()
            path.write_bytes(self.data)
            self._folder.hold(len(self.data))
            yield RetrievedFile(path, one.study_uid, one.sop_instance_uid, len(self.data))

    async def close(self) -> None:
        """See `PacsRetriever`."""
