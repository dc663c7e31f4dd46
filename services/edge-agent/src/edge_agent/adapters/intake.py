"""Makes what a receiving process took in durable: many associations share one sync of folder and journal."""

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from edge_agent.adapters.journal import Journal
from edge_agent.adapters.spool import SpoolFolder, sync_folder
from edge_agent.errors import SpoolUnusable
from edge_agent.model import Arrival, Outcome
from imaging_common.dicom import CheckedInstance
from imaging_common.dicom.sinks import PartTenSink

_DEADLINE_SECONDS = 60.0
_Waiting = tuple[Arrival, "Future[Outcome]"]


@dataclass(frozen=True, slots=True)
class Intake:
    """The spool as one receiving process uses it; `notify` tells the main process that there is something new."""

    folder: SpoolFolder
    journal: Journal
    notify: Callable[[], None]
    _queue: "queue.SimpleQueue[_Waiting | None]"

    @classmethod
    def start(cls, folder: SpoolFolder, journal: Journal, notify: Callable[[], None]) -> "Intake":
        """Begin: one thread commits for all associations of the process."""
        intake = cls(folder, journal, notify, queue.SimpleQueue())
        threading.Thread(target=intake._commit_forever, name="intake", daemon=True).start()
        return intake

    def keep(self, sink: PartTenSink, checked: CheckedInstance, traceparent: str | None) -> Outcome:
        """Take the sink's file over; file, folder and journal are on stable storage when this returns.

        Raises
        ------
        SpoolUnusable
            The disk is full or does not answer; nothing is acknowledged.
        """
        digest = sink.finish()
        arrival = Arrival(
            checked.study_uid, checked.series_uid, checked.sop_instance_uid, digest, checked.length, traceparent
        )
        future: Future[Outcome] = Future()
        try:
            sink.path.rename(self.folder.path(digest))
            sink.sync()
            self._queue.put((arrival, future))
            return future.result(_DEADLINE_SECONDS)
        except (OSError, sqlite3.Error, TimeoutError) as error:
            raise SpoolUnusable(f"the spool's disk does not take it: {type(error).__name__}") from error

    def stop(self) -> None:
        """End the thread after what it has."""
        self._queue.put(None)

    def _commit_forever(self) -> None:
        while (first := self._queue.get()) is not None:
            waiting = [first]
            while not self._queue.empty():
                one = self._queue.get()
                if one is None:
                    self._queue.put(None)
                    break
                waiting.append(one)
            try:
                outcomes = self._commit([arrival for arrival, _ in waiting])
            except BaseException as error:
                for _, future in waiting:
                    future.set_exception(error)
                continue
            for (_, future), outcome in zip(waiting, outcomes, strict=True):
                future.set_result(outcome)
            self.notify()

    def _commit(self, arrivals: list[Arrival]) -> list[Outcome]:
        sync_folder(self.folder.instances)
        results = self.journal.add(arrivals)
        for arrival, (_, belongs) in zip(arrivals, results, strict=True):
            if not belongs:
                self.folder.path(arrival.sha256).unlink(missing_ok=True)
        return [outcome for outcome, _ in results]
