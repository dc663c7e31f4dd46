"""The durable spool: files and journal entries that survive a power cut once `keep` has returned."""

import os
import queue
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.adapters.journal import Journal
from edge_agent.errors import SpoolFull
from imaging_common.dicom import CheckedInstance

JOURNAL_FILE = "journal.sqlite"
KEEP_DEADLINE_SECONDS = 60.0
USAGE_MAX_AGE_SECONDS = 0.5
STALE_SECONDS = 3600.0


@dataclass(slots=True)
class _Entry:
    instance: CheckedInstance
    source: Path
    traceparent: str | None
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class Spool:
    """Used by one receiving process; its writer thread makes whatever waits durable together (group commit)."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._journal = Journal(folder / JOURNAL_FILE)
        self._usage_journal = Journal(folder / JOURNAL_FILE)
        self._queue: queue.Queue[_Entry] = queue.Queue()
        self._usage = (0, 0.0)
        self._usage_lock = threading.Lock()
        (folder / "incoming").mkdir(exist_ok=True)
        tempfile.tempdir = str(folder / "incoming")  # pynetdicom's files must lie on the spool's volume
        threading.Thread(target=self._write_forever, name="spool-writer", daemon=True).start()

    def ensure_room(self) -> None:
        """Raise `SpoolFull` when what waits for the centre has reached the bound."""
        with self._usage_lock:
            used, measured = self._usage
            if time.monotonic() - measured > USAGE_MAX_AGE_SECONDS:
                used = self._usage_journal.backlog().bytes
                self._usage = (used, time.monotonic())
        if used >= self._limit:
            raise SpoolFull(f"the spool holds {used} of {self._limit} bytes that the centre has not stored yet")

    def keep(self, instance: CheckedInstance, source: Path, traceparent: str | None) -> None:
        """Take over the file `source`; file, folder and journal are on the disk when this returns."""
        entry = _Entry(instance, source, traceparent)
        self._queue.put(entry)
        if not entry.done.wait(KEEP_DEADLINE_SECONDS):
            raise TimeoutError("the spool's disk did not answer in time")
        if entry.error is not None:
            raise entry.error

    def _write_forever(self) -> None:
        while True:
            entries = [self._queue.get()]
            while not self._queue.empty():
                entries.append(self._queue.get_nowait())
            try:
                self._write(entries)
            except BaseException as error:
                for entry in entries:
                    entry.error = error
            for entry in entries:
                entry.done.set()

    def _write(self, entries: list[_Entry]) -> None:
        rows, folders = [], set()
        for entry in entries:
            instance = entry.instance
            folder = self._folder / "instances" / instance.study_uid
            if not folder.exists():
                folder.mkdir(parents=True, exist_ok=True)
                folders.add(folder.parent)
            path = folder / f"{instance.sop_instance_uid}-{instance.sha256[:16]}.dcm"
            _sync(entry.source)
            if not path.exists():
                os.link(entry.source, path)
            folders.add(folder)
            rows.append((instance, path, entry.traceparent))
        for folder in folders:
            _sync(folder)
        self._journal.add(rows)


def sweep_incoming(folder: Path) -> int:
    """Remove what a crash left of associations that are long gone; how many files."""
    removed = 0
    for path in (folder / "incoming").glob("*"):
        if time.time() - path.stat().st_mtime > STALE_SECONDS:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
