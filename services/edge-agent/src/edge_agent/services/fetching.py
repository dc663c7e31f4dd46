"""Brings the wanted files from the region, a few ahead of the receiver, in a thread of its own."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_agent.errors import RegionRefused, RegionUnavailable
from edge_agent.services.objects import meta_of
from edge_agent.services.query import Group, Wanted
from edge_agent.services.region import Line
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
AHEAD = 4
FAILURES_IN_A_ROW = 3
"""Single instances that may fail one after the other before the rest of a study is given up."""


class Files(Protocol):
    """What `RegionDicomweb.files` does."""

    def files(self, path: str, line: Line) -> Iterator[Path]:
        """The instances of a resource, each as a file that is the caller's to delete."""
        ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A wanted instance; without a path it could not be got."""

    wanted: Wanted
    path: Path | None


class Fetcher:
    """Iterated with `next` until None; whoever ends earlier calls `stop`."""

    def __init__(self, region: Files, groups: list[Group]) -> None:
        self._region = region
        self._groups = groups
        self._ready: queue.Queue[Fetched | None] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._line = Line()
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)
        self._thread.start()

    def next(self, seconds: float) -> Fetched | None:
        """The next instance; None: that was all.

        Raises
        ------
        queue.Empty
            None came within `seconds`.
        """
        return self._ready.get(timeout=seconds)

    def stop(self) -> None:
        """Fetch no more, and delete what lies ready; returns at once."""
        self._stop.set()
        self._line.cut()
        self._drain()

    def _drain(self) -> None:
        while True:
            try:
                one = self._ready.get_nowait()
            except queue.Empty:
                return
            if one is not None and one.path is not None:
                one.path.unlink(missing_ok=True)

    def _run(self) -> None:
        try:
            for group in self._groups:
                self._fetch(group)
        finally:
            self._put(None)

    def _fetch(self, group: Group) -> None:
        remaining = dict(group.wanted)
        for path in group.paths:
            self._stream(path, remaining)
        failures = 0
        for wanted in list(remaining.values()):
            if self._stop.is_set() or failures >= FAILURES_IN_A_ROW:
                break
            self._stream(wanted.path, remaining)
            failures = failures + 1 if wanted.sop_instance_uid in remaining else 0
        for wanted in remaining.values():
            self._put(Fetched(wanted, None))

    def _stream(self, path: str, remaining: dict[str, Wanted]) -> None:
        """Take the wanted instances of one resource; what was sent already, or nobody wants, is dropped."""
        if self._stop.is_set():
            return
        self._line = Line()
        try:
            for file in self._region.files(path, self._line):
                try:
                    wanted = remaining.pop(meta_of(file)[1], None)
                except Exception as error:
                    _log.warning("retrieved-file-unreadable", error=type(error).__name__)
                    wanted = None
                if wanted is None:
                    file.unlink(missing_ok=True)
                else:
                    self._put(Fetched(wanted, file))
                if self._stop.is_set():
                    return
        except (RegionUnavailable, RegionRefused) as error:
            if not self._stop.is_set():
                _log.warning("retrieval-broken", error=str(error), missing=len(remaining))

    def _put(self, one: Fetched | None) -> None:
        while not self._stop.is_set():
            try:
                self._ready.put(one, timeout=0.5)
            except queue.Full:
                continue
            if self._stop.is_set():
                self._drain()
            return
        if one is not None and one.path is not None:
            one.path.unlink(missing_ok=True)
