"""Where backups lie: a folder, or a prefix in an S3 store. Files appear whole or not at all."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from minio import Minio
from minio.error import S3Error

from imaging_operate.console import OperatingError
from imaging_operate.servers import backup_store
from imaging_operate.settings import RegionSettings

PART_BYTES = 16 * 1024 * 1024
S3 = "s3://"


class Writer(Protocol):
    """What takes a file's bytes."""

    def write(self, data: bytes, /) -> Any: ...


class Reader(Protocol):
    """What gives a file's bytes; `b""` at its end."""

    def read(self, size: int = -1, /) -> bytes: ...


class Shelf(Protocol):
    """A place for files; names are relative paths."""

    def writing(self, name: str) -> contextlib.AbstractContextManager[Writer]:
        """A new file, there once the block ended without an error, durable; it takes the place of a former one."""
        ...

    def reading(self, name: str) -> contextlib.AbstractContextManager[Reader]:
        """A file's bytes; `FileNotFoundError` without it."""
        ...

    def names(self, prefix: str) -> Iterator[str]:
        """The files below a folder."""
        ...

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is no error."""
        ...


def open_shelf(target: str, settings: RegionSettings) -> Shelf:
    """The shelf that `target` names: a folder's path, or `s3://bucket/prefix`.

    Raises
    ------
    OperatingError
        The S3 store is not named in the settings.
    """
    if not target.startswith(S3):
        return FolderShelf(Path(target))
    if not settings.backup_s3_endpoint:
        raise OperatingError(f"{target} needs REGION_BACKUP_S3_ENDPOINT, …_ACCESS_KEY and …_SECRET_KEY")
    bucket, _, prefix = target.removeprefix(S3).partition("/")
    return S3Shelf(backup_store(settings), bucket, prefix.strip("/"))


class FolderShelf:
    """See `Shelf`; only its owner may read it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Writer]:
        """See `Shelf.writing`."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{path.name}.partial")
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Reader]:
        """See `Shelf.reading`."""
        with (self._folder / name).open("rb") as file:
            yield file

    def names(self, prefix: str) -> Iterator[str]:
        """See `Shelf.names`."""
        for path in sorted((self._folder / prefix).rglob("*")):
            if path.is_file() and not path.name.endswith(".partial"):
                yield str(path.relative_to(self._folder))

    def exists(self, name: str) -> bool:
        """See `Shelf.exists`."""
        return (self._folder / name).is_file()

    def remove(self, name: str) -> None:
        """See `Shelf.remove`."""
        (self._folder / name).unlink(missing_ok=True)


class S3Shelf:
    """See `Shelf`; a file goes up in parts, three of which are in memory."""

    def __init__(self, client: Minio, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Writer]:
        """See `Shelf.writing`."""
        source, sink = os.pipe()
        failed: list[BaseException] = []
        aborted = threading.Event()
        reader = _Pipe(os.fdopen(source, "rb"), aborted)

        def send() -> None:
            try:
                self._client.put_object(
                    bucket_name=self._bucket,
                    object_name=self._prefix + name,
                    data=reader,  # type: ignore[arg-type]
                    length=-1,
                    part_size=PART_BYTES,
                )
            except BaseException as error:
                failed.append(error)
            finally:
                reader.close()

        thread = threading.Thread(target=send, name="backup-upload")
        thread.start()
        try:
            with open(sink, "wb") as file:
                yield file
        except BaseException as error:
            aborted.set()
            if isinstance(error, BrokenPipeError) and failed:
                raise failed[0] from error
            raise
        finally:
            thread.join()
        if failed:
            raise failed[0]

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Reader]:
        """See `Shelf.reading`."""
        try:
            answer = self._client.get_object(bucket_name=self._bucket, object_name=self._prefix + name)
        except S3Error as error:
            if error.code == "NoSuchKey":
                raise FileNotFoundError(f"no {name} in s3://{self._bucket}/{self._prefix}") from error
            raise
        try:
            yield answer
        finally:
            answer.close()
            answer.release_conn()

    def names(self, prefix: str) -> Iterator[str]:
        """See `Shelf.names`."""
        wanted = f"{self._prefix}{prefix}/" if prefix else self._prefix
        for item in self._client.list_objects(bucket_name=self._bucket, prefix=wanted, recursive=True):
            yield str(item.object_name).removeprefix(self._prefix)

    def exists(self, name: str) -> bool:
        """See `Shelf.exists`."""
        try:
            self._client.stat_object(bucket_name=self._bucket, object_name=self._prefix + name)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return False
            raise
        return True

    def remove(self, name: str) -> None:
        """See `Shelf.remove`."""
        self._client.remove_object(bucket_name=self._bucket, object_name=self._prefix + name)


class _Pipe:
    """The reading end; an abort is an error and not the file's end, so that half a file never appears."""

    def __init__(self, file: IO[bytes], aborted: threading.Event) -> None:
        self._file = file
        self._aborted = aborted

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if self._aborted.is_set():
            raise OSError("the backup's file was not finished")
        return data

    def close(self) -> None:
        self._file.close()


def read_all(shelf: Shelf, name: str) -> bytes:
    """A small file."""
    with shelf.reading(name) as file:
        return file.read()


def write_all(shelf: Shelf, name: str, data: bytes) -> None:
    """A small file."""
    with shelf.writing(name) as file:
        file.write(data)
