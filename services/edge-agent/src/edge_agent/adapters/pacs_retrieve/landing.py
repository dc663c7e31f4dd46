"""Brings files from threads that receive them to the coroutine that waits for them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.errors import RetrieveFolderFull
from edge_agent.model import PacsInstance, RetrievedFile
from imaging_common.dicom.sinks import PartTenSink

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
"""Statuses of C-STORE (PS3.4 Table B.2-1)."""


@dataclass(slots=True)
class Landing:
    """One operation's files; `land` is called by the threads of associations."""

    folder: RetrieveFolder
    wanted: Mapping[str, PacsInstance]
    loop: asyncio.AbstractEventLoop
    full: RetrieveFolderFull | None = None
    abandoned: bool = False
    """Nobody waits for its files any more: the thread that runs the operation ends it after the next answer."""
    came: set[str] = field(default_factory=set)
    """SOP Instance UIDs of the files that landed."""
    _queue: "asyncio.Queue[RetrievedFile | BaseException | None]" = field(default_factory=asyncio.Queue)

    @classmethod
    def of(cls, folder: RetrieveFolder, wanted: Sequence[PacsInstance]) -> "Landing":
        """For these instances, on the running loop."""
        return cls(folder, {one.sop_instance_uid: one for one in wanted}, asyncio.get_running_loop())

    def land(self, sink: PartTenSink | None) -> int:
        """Take a data set that arrived whole; the status to answer."""
        if sink is None:
            return CANNOT_UNDERSTAND
        if sink.refused == "full":
            self.full = RetrieveFolderFull("the folder of retrieved files is full", broken=self.folder.has_room())
            return OUT_OF_RESOURCES
        if sink.request.sop_instance_uid not in self.wanted or sink.refused is not None or self.abandoned:
            sink.discard()
            return CANNOT_UNDERSTAND
        self.folder.hold(sink.length)
        sink.settle()
        file = self.folder.take(sink.path, self.wanted)
        if file is None:
            return CANNOT_UNDERSTAND
        self.came.add(file.sop_instance_uid)
        self._put(file)
        return SUCCESS

    async def run(self, work: Callable[[], None], threads: Executor) -> AsyncGenerator[RetrievedFile, None]:
        """Run the blocking operation in a thread, and give its files as they land; then its error, if it has one."""

        def to_the_end() -> None:
            try:
                work()
                self._put(self.full)
            except BaseException as error:
                self._put(self.full or error)

        thread = self.loop.run_in_executor(threads, to_the_end)
        try:
            while (item := await self._queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
            await thread
        finally:
            self.abandoned = True
            while not self._queue.empty():
                item = self._queue.get_nowait()
                if isinstance(item, RetrievedFile):
                    self.folder.remove(item)

    def _put(self, item: RetrievedFile | BaseException | None) -> None:
        self.loop.call_soon_threadsafe(self._arrived, item)

    def _arrived(self, item: RetrievedFile | BaseException | None) -> None:
        """On the loop, where `abandoned` is set: a file that nobody will take from the queue any more goes at once."""
        if not self.abandoned:
            self._queue.put_nowait(item)
        elif isinstance(item, RetrievedFile):
            self.folder.remove(item)
