"""Where retrieved files lie until the centre has them: bounded, swept when the agent starts, never synced."""

import os
import threading
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from edge_agent.errors import RetrieveFolderFull
from edge_agent.model import PacsInstance, RetrievedFile
from imaging_common.dicom import RejectedInstance, check_instance
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)


class RetrieveFolder:
    """The folder `retrieved/` of one agent's spool. Safe to use from several threads; methods may block on the disk."""

    def __init__(self, root: Path, limit: int) -> None:
        self.path = root / "retrieved"
        self.path.mkdir(parents=True, exist_ok=True)
        self._limit = limit
        self._used = 0
        self._lock = threading.Lock()
        self._numbers = count()
        self.sweep()

    def sweep(self) -> int:
        """Delete what an agent that ended left behind; how many files."""
        left = list(self.path.iterdir())
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    @property
    def used(self) -> int:
        """Bytes that lie here or arrive."""
        return self._used

    def has_room(self) -> bool:
        """Whether it is worth fetching more: an eighth is left for what is on its way."""
        return self._used <= self._limit - self._limit // 8

    def reserve(self, size: int) -> bool:
        """Take `size` bytes for data that arrives; False when they would pass the bound."""
        with self._lock:
            if self._used + size > self._limit:
                return False
            self._used += size
            return True

    def hold(self, size: int) -> None:
        """Count bytes that are here already."""
        with self._lock:
            self._used += size

    def release(self, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            self._used -= size

    def new_path(self) -> Path:
        """A name for a file that is to arrive; it holds nothing that a peer sent."""
        return self.path / f"{os.getpid()}-w{next(self._numbers)}.part"

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """Append to an open file.

        Raises
        ------
        RetrieveFolderFull
            The bound is reached, or the disk is full.
        """
        if not self.reserve(len(data)):
            raise RetrieveFolderFull("the folder of retrieved files is full")
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError as error:
            self.release(len(data))
            raise RetrieveFolderFull(f"the disk does not take it: {error.strerror}", broken=True) from error

    def take(self, path: Path, wanted: Mapping[str, PacsInstance]) -> RetrievedFile | None:
        """Check a whole file whose bytes are reserved; None, and the file gone, when it was not asked for.

        Parameters
        ----------
        wanted
            By SOP Instance UID.
        """
        length = path.stat().st_size
        try:
            checked = check_instance(path, with_header=False, with_digests=False)
            one = wanted.get(checked.sop_instance_uid)
            if one is not None and one.study_uid == checked.study_uid:
                return RetrievedFile(path, checked.study_uid, checked.sop_instance_uid, length)
            reason = "not-asked-for"
        except RejectedInstance as error:
            reason = error.reason_code
        _log.warning("retrieved-file-refused", reason=reason)
        self.drop(path)
        return None

    def drop(self, path: Path) -> None:
        """A whole file is not used after all."""
        self.release(path.stat().st_size)
        path.unlink()

    def remove(self, file: RetrievedFile) -> None:
        """The file is done with."""
        file.path.unlink(missing_ok=True)
        self.release(file.length)
