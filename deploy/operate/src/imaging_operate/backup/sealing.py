"""Streams of bytes into encrypted files and back: digested, compressed with zstd where asked, memory flat."""

import contextlib
import hashlib
import queue
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import zstandard
from pydantic import BaseModel, ConfigDict
from pyrage import DecryptError, IdentityError, RecipientError, decrypt_io, encrypt_io, x25519

from imaging_operate.backup.shelf import Reader, Shelf, Writer
from imaging_operate.console import OperatingError

CHUNK = 1024 * 1024
PUBLIC_KEY = "age1"
WAITING = 8
"""Chunks that may wait between who decrypts and who takes."""


class Sealed(BaseModel):
    """One encrypted file."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: int
    """Bytes of the file."""
    sha256: str
    """Of the file as it lies there, so that it can be verified without a key."""
    content_sha256: str
    """Of what is in it, before compression."""
    content_size: int
    compressed: bool


def read_recipients(told: str) -> list[x25519.Recipient]:
    """Public keys themselves, with commas between them, or those of a file, one a line; lines with `#` are remarks.

    Raises
    ------
    OperatingError
        There is no such file, no key in it, or a line is none.
    """
    if told.startswith(PUBLIC_KEY):
        keys = [key.strip() for key in told.split(",")]
    else:
        keys = _lines(told, "REGION_BACKUP_RECIPIENTS", "public keys")
    try:
        return [x25519.Recipient.from_str(key) for key in keys]
    except RecipientError as error:
        raise OperatingError(f"{told} holds something that is no public age key (age1…): {error}") from error


def read_identities(path: str) -> list[x25519.Identity]:
    """The private keys of a file, as `age-keygen` writes it; errors as `read_recipients`."""
    try:
        return [x25519.Identity.from_str(line) for line in _lines(path, "REGION_BACKUP_IDENTITY", "the private key")]
    except IdentityError as error:
        raise OperatingError(f"{path} holds a line that is no private age key (AGE-SECRET-KEY-1…)") from error


def _lines(path: str, variable: str, what: str) -> list[str]:
    if not path:
        raise OperatingError(f"name the file with {what} of the backups ({variable})")
    try:
        lines = [line.strip() for line in Path(path).read_text().splitlines()]
    except OSError as error:
        raise OperatingError(f"the file with {what} of the backups cannot be read: {error}") from error
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise OperatingError(f"{path} holds no key")
    return found


def seal(
    shelf: Shelf, name: str, content: Iterable[bytes], recipients: list[x25519.Recipient], *, compress: bool
) -> Sealed:
    """Write `content` encrypted; the file is there when this returns."""
    source = _Source(content, compress)
    with shelf.writing(name) as file:
        sink = _Digesting(file)
        encrypt_io(source, sink, recipients)
    return Sealed(
        name=name,
        size=sink.size,
        sha256=sink.digest.hexdigest(),
        content_sha256=source.digest.hexdigest(),
        content_size=source.size,
        compressed=compress,
    )


@contextlib.contextmanager
def unsealed(shelf: Shelf, sealed: Sealed, identities: list[x25519.Identity]) -> Iterator[Iterator[bytes]]:
    """The content in pieces; what is not read to its end is left.

    Raises
    ------
    OperatingError
        The file is damaged, or none of the keys opens it; while reading, at the latest at the end.
    """
    pieces: queue.Queue[bytes | BaseException | None] = queue.Queue(WAITING)
    left = threading.Event()

    def work() -> None:
        try:
            with shelf.reading(sealed.name) as file:
                decrypt_io(_Steady(file), _Pieces(pieces, left), identities)
            pieces.put(None)
        except BaseException as error:
            if not left.is_set():
                pieces.put(error)

    thread = threading.Thread(target=work, name="backup-decrypt")
    thread.start()
    try:
        yield _content(pieces, sealed)
    finally:
        left.set()
        while thread.is_alive():
            with contextlib.suppress(queue.Empty):
                pieces.get(timeout=0.05)
        thread.join()


def _content(pieces: "queue.Queue[bytes | BaseException | None]", sealed: Sealed) -> Iterator[bytes]:
    digest = hashlib.sha256()
    unpack = zstandard.ZstdDecompressor().decompressobj() if sealed.compressed else None
    while (piece := pieces.get()) is not None:
        if isinstance(piece, BaseException):
            why = "no key of the identity file opens it" if isinstance(piece, DecryptError) else str(piece)
            raise OperatingError(f"{sealed.name} of the backup cannot be read: {why}") from piece
        try:
            plain = unpack.decompress(piece) if unpack else piece
        except zstandard.ZstdError as error:
            raise OperatingError(f"{sealed.name} of the backup is damaged: {error}") from error
        digest.update(plain)
        if plain:
            yield plain
    if digest.hexdigest() != sealed.content_sha256:
        raise OperatingError(f"{sealed.name} of the backup is damaged: its content is not what was saved")


def digest_of(shelf: Shelf, name: str) -> tuple[str, int]:
    """SHA-256 and size of a file as it lies there."""
    digest, size = hashlib.sha256(), 0
    with shelf.reading(name) as file:
        while data := file.read(CHUNK):
            digest.update(data)
            size += len(data)
    return digest.hexdigest(), size


class _Source:
    """What age reads from: pieces of content, digested and packed on their way."""

    def __init__(self, content: Iterable[bytes], compress: bool) -> None:
        self.digest, self.size = hashlib.sha256(), 0
        self._buffer = memoryview(b"")
        self._packed = self._pack(content, compress)

    def _pack(self, content: Iterable[bytes], compress: bool) -> Iterator[bytes]:
        packer = zstandard.ZstdCompressor(level=3).compressobj() if compress else None
        for piece in content:
            self.digest.update(piece)
            self.size += len(piece)
            yield packer.compress(piece) if packer else piece
        if packer:
            yield packer.flush()

    def read(self, size: int = -1) -> bytes:
        while not self._buffer:
            piece = next(self._packed, None)
            if piece is None:
                return b""
            self._buffer = memoryview(piece)
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return bytes(taken)


class _Digesting:
    """What age writes to."""

    def __init__(self, file: Writer) -> None:
        self.digest, self.size = hashlib.sha256(), 0
        self._file = file

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        self._file.write(data)
        return len(data)

    def flush(self) -> None:
        """The file is flushed when it is closed."""


class _Steady:
    """A reader that age may ask for any size."""

    def __init__(self, file: Reader) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class _Pieces:
    """What age writes decrypted bytes to; an error when nobody takes them any more."""

    def __init__(self, pieces: "queue.Queue[Any]", left: threading.Event) -> None:
        self._pieces = pieces
        self._left = left

    def write(self, data: bytes) -> int:
        if self._left.is_set():
            raise OSError("nobody reads any more")
        self._pieces.put(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""
