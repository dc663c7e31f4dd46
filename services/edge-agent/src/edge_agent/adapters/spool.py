"""The spool folder: files become durable here, within a bound that the receiving processes share.

`incoming/` holds files that still arrive, `instances/` one file per SHA-256, `quarantine/` what the centre refused.
A file counts once the journal has it: all else is swept when the agent starts.
"""

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Sequence
from pathlib import Path

from edge_agent.model import SpooledInstance

_SLOT = struct.Struct("<q")
_MAX_RECEIVERS = 63


class Budget:
    """Bytes held, and bytes arriving in each receiving process, in memory that the agent's processes share.

    Each process writes a slot of its own, so none can leave a lock behind when it is killed; two that reserve at the
    same instant may pass the bound by one fragment of a PDU.
    """

    def __init__(self, path: Path, limit: int, receiver: int | None = None) -> None:
        self._limit = limit
        self._slot = 0 if receiver is None else 1 + receiver % _MAX_RECEIVERS
        self._mine = 0
        self._lock = threading.Lock()
        with path.open("a+b") as file:
            file.truncate(_SLOT.size * (1 + _MAX_RECEIVERS))
            self._map = mmap.mmap(file.fileno(), 0)
        if receiver is not None:
            self._put(self._slot, 0)

    def reset(self) -> None:
        """Forget what processes that are gone had reserved."""
        for slot in range(1, 1 + _MAX_RECEIVERS):
            self._put(slot, 0)

    def set_held(self, held: int) -> None:
        """The journal's figure; called in its writers' turn."""
        self._put(0, held)

    @property
    def used(self) -> int:
        """Bytes held and arriving."""
        return sum(value for (value,) in _SLOT.iter_unpack(self._map[:]))

    @property
    def full(self) -> bool:
        """Whether nothing more is accepted."""
        return self.used >= self._limit

    def reserve(self, size: int) -> bool:
        """Take `size` bytes for data that arrives; False when they would pass the bound."""
        with self._lock:
            if self.used + size > self._limit:
                return False
            self._mine += size
            self._put(self._slot, self._mine)
            return True

    def release(self, size: int) -> None:
        """Give back what was reserved: the data is in the journal, or dropped."""
        with self._lock:
            self._mine -= size
            self._put(self._slot, self._mine)

    def _put(self, slot: int, value: int) -> None:
        _SLOT.pack_into(self._map, slot * _SLOT.size, value)


class SpoolFolder:
    """The folders and files of one agent's spool."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / "incoming"
        self.instances = root / "instances"
        self.quarantined = root / "quarantine"
        for folder in (self.incoming, self.instances, self.quarantined):
            folder.mkdir(parents=True, exist_ok=True)
        sync_folder(root)
        self.journal_path = root / "journal.sqlite"
        self.budget_path = root / "budget"

    def path(self, sha256: str) -> Path:
        """Where an instance lies; the name is our own digest, never a peer's UID."""
        return self.instances / f"{sha256}.dcm"

    def damaged(self, batch: Sequence[SpooledInstance]) -> list[SpooledInstance]:
        """See `SpoolFiles`."""
        return [instance for instance in batch if _size(self.path(instance.sha256)) != instance.length]

    def quarantine(self, instances: Sequence[SpooledInstance]) -> None:
        """See `SpoolFiles`."""
        for instance in instances:
            source = self.path(instance.sha256)
            if source.exists():
                source.rename(self.quarantined / source.name)
        sync_folder(self.quarantined)
        sync_folder(self.instances)

    def remove(self, instances: Sequence[SpooledInstance]) -> None:
        """See `SpoolFiles`."""
        for instance in instances:
            self.path(instance.sha256).unlink(missing_ok=True)

    def sweep_incoming(self) -> int:
        """Delete what was still arriving when the agent ended; how many files. No receiving process may run."""
        left = list(self.incoming.iterdir())
        for path in left:
            path.unlink()
        return len(left)

    def sweep_instances(self, known: set[str]) -> int:
        """Delete files that the journal does not know: their senders got no 0x0000."""
        strangers = [path for path in self.instances.iterdir() if path.stem not in known]
        for path in strangers:
            path.unlink()
        return len(strangers)


class SpoolLock:
    """Says that an agent, or one of its receiving processes, uses the spool; gone with the process."""

    def __init__(self, root: Path, name: str) -> None:
        self._fd = os.open(root / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def share(self) -> None:
        """Use it together with others."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def try_alone(self) -> bool:
        """Use it alone; False when another process uses it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """No longer use it."""
        os.close(self._fd)


def sync_folder(folder: Path) -> None:
    """Have a folder's entries on stable storage."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
