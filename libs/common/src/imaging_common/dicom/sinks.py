"""Where the data set of a C-STORE goes while it arrives: into a Part 10 file on the right volume, hashed, bounded."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

from imaging_common.dicom.part10 import write_meta
from imaging_common.ids import is_uid

_numbers = count()
_META_BYTES = 512


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """What a C-STORE-RQ says before its data set arrives (PS3.7 §9.1.1), and over which association."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae: str
    address: str

    @property
    def valid(self) -> bool:
        """Whether the UIDs are UIDs; only then may anything be made of them."""
        return is_uid(self.sop_class_uid) and is_uid(self.sop_instance_uid)


class DataSink(Protocol):
    """Takes the fragments of one data set; neither method may raise."""

    def write(self, fragment: bytes) -> None:
        """Take the next fragment."""

    def discard(self) -> None:
        """The data set will not be used: the association ended, or the handler is done with it."""


class PartTenSink:
    """Writes a Part 10 file while its data set arrives; what cannot be kept is read to its end and dropped.

    Parameters
    ----------
    folder
        Where the file grows, on the volume where it is to stay. The name holds nothing that the peer sent.
    reserve
        Called with each fragment's size before it is written; False refuses the instance (`refused` = `full`).
    release
        Gives back what was reserved when the file is dropped.
    """

    def __init__(
        self,
        folder: Path,
        request: StoreRequest,
        reserve: Callable[[int], bool] = lambda _: True,
        release: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.request = request
        self.path = folder / f"{os.getpid()}-{next(_numbers)}.part"
        self.refused: str | None = None if request.valid else "uid-malformed"
        self.length = 0
        self._hash = hashlib.sha256()
        self._reserve = reserve
        self._release = release
        self._reserved = 0
        self._fd = -1

    def write(self, fragment: bytes) -> None:
        """Append a fragment; the File Meta Information goes before the first."""
        if self.refused is not None:
            return
        size = len(fragment) + (0 if self.length else _META_BYTES)
        if not self._reserve(size):
            self._refuse("full")
            return
        self._reserved += size
        try:
            if self._fd < 0:
                self._open()
            self._append(fragment)
        except OSError:
            self._refuse("full")

    def finish(self) -> str:
        """Return the SHA-256 of the file, which is complete but not yet synced."""
        return self._hash.hexdigest()

    def sync(self) -> None:
        """Have the bytes on stable storage and close the file.

        Raises
        ------
        OSError
            The volume is full or broken.
        """
        if self._fd >= 0:
            os.fsync(self._fd)
            self._close()

    def settle(self) -> None:
        """The file is somebody else's from now on: give the reservation back, close, delete nothing."""
        self._close()
        self._release(self._reserved)
        self._reserved = 0

    def discard(self) -> None:
        """Delete the file and give the reservation back; a second call finds nothing to do."""
        if self._fd >= 0 or self._reserved:
            self.path.unlink(missing_ok=True)
        self.settle()

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        request = self.request
        self._append(write_meta(request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax_uid))

    def _append(self, data: bytes) -> None:
        self._hash.update(data)
        self.length += len(data)
        left = memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]

    def _refuse(self, reason: str) -> None:
        self.discard()
        self.refused = reason

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
