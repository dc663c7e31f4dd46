"""The object store in a backup: each object once for all backups, since what lies under a key never changes."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from minio import Minio
from minio.commonconfig import COMPLIANCE
from minio.error import S3Error
from minio.retention import Retention
from pyrage import x25519

from imaging_operate.backup.model import COPIED_BUCKETS, Entry, Objects
from imaging_operate.backup.mongodb import Told
from imaging_operate.backup.sealing import CHUNK, Sealed, seal, unsealed
from imaging_operate.backup.shelf import Shelf, read_all, write_all
from imaging_operate.streams import pages
from imaging_operate.topology import LOCKED_BUCKET

WORKERS, PAGE = 4, 100
PART_BYTES = 16 * 1024 * 1024
RETAIN_HEADER = "x-amz-object-lock-retain-until-date"


@dataclass(frozen=True, slots=True)
class Found:
    """One object of the store."""

    bucket: str
    key: str
    size: int
    etag: str
    version: str | None = None

    @property
    def name(self) -> str:
        """The file that holds it, the same in every backup."""
        digest = hashlib.sha256("\n".join((self.bucket, self.key, self.etag)).encode()).hexdigest()
        return f"objects/{digest[:2]}/{digest}.age"


def listing(client: Minio, anchors: list[Found]) -> Iterator[Found]:
    """Every object that is saved, the anchors last."""
    for bucket in COPIED_BUCKETS:
        if bucket == LOCKED_BUCKET:
            continue
        for item in client.list_objects(bucket_name=bucket, recursive=True):
            yield Found(bucket, str(item.object_name), item.size or 0, str(item.etag))
    yield from anchors


def find_anchors(client: Minio) -> list[Found]:
    """The audit chains' anchors, of each its first version, the one that counts.

    To be looked up before the databases are saved: an anchor of records that are not in the backup would say, after a
    restore, that somebody removed them.
    """
    first: dict[str, Any] = {}
    for item in client.list_objects(bucket_name=LOCKED_BUCKET, recursive=True, include_version=True):
        before = first.get(str(item.object_name))
        if not item.is_delete_marker and (before is None or item.last_modified < before.last_modified):
            first[str(item.object_name)] = item
    return [
        Found(LOCKED_BUCKET, key, item.size or 0, str(item.etag), item.version_id)
        for key, item in sorted(first.items())
    ]


def dump(
    client: Minio, shelf: Shelf, backup: str, recipients: list[x25519.Recipient], told: Told, anchors: list[Found]
) -> Objects:
    """Save what no backup has yet, and the list of all.

    An object that goes while this runs was archived or deleted: it is left out.
    """
    counts, sizes = dict.fromkeys(COPIED_BUCKETS, 0), dict.fromkeys(COPIED_BUCKETS, 0)
    with tempfile.TemporaryFile() as names:

        def lines() -> Iterator[bytes]:
            for entry in _saved(client, shelf, recipients, anchors):
                counts[entry.bucket] += 1
                sizes[entry.bucket] += entry.size
                told("objects", sum(counts.values()))
                names.write(entry.stored.name.encode() + b"\n")
                yield orjson.dumps(entry.model_dump(mode="json")) + b"\n"

        file = seal(shelf, f"{backup}/objects.jsonl.zst.age", lines(), recipients, compress=True)
        names.seek(0)
        with shelf.writing(names_file(backup)) as target:
            shutil.copyfileobj(names, target, CHUNK)
    return Objects(count=counts, bytes=sizes, file=file)


def names_file(backup: str) -> str:
    """The file that lists a backup's objects by their files' names, which say nothing: for who has no key."""
    return f"{backup}/objects.names"


def names(shelf: Shelf, backup: str) -> Iterator[str]:
    """The files that a backup's objects lie in."""
    rest = b""
    with shelf.reading(names_file(backup)) as file:
        while piece := file.read(CHUNK):
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line.decode() for line in lines)


def proof_of(name: str) -> str:
    """The file beside an object's file that says what is in it."""
    return name.removesuffix(".age") + ".json"


def _saved(client: Minio, shelf: Shelf, recipients: list[x25519.Recipient], anchors: list[Found]) -> Iterator[Entry]:
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="backup") as pool:
        for page in pages(listing(client, anchors), PAGE):
            for entry in pool.map(lambda one: _save(client, shelf, recipients, one), page):
                if entry is not None:
                    yield entry


def _save(client: Minio, shelf: Shelf, recipients: list[x25519.Recipient], one: Found) -> Entry | None:
    proof = proof_of(one.name)
    until: datetime | None = None
    try:
        if one.bucket == LOCKED_BUCKET:
            until = _retained_until(client, one)
        if shelf.exists(proof):
            stored = Sealed.model_validate_json(read_all(shelf, proof))
        else:
            stored = seal(shelf, one.name, _content(client, one), recipients, compress=False)
            write_all(shelf, proof, stored.model_dump_json().encode())
    except S3Error as error:
        if error.code == "NoSuchKey":
            return None
        raise
    return Entry(bucket=one.bucket, key=one.key, size=one.size, etag=one.etag, retain_until=until, stored=stored)


def _content(client: Minio, one: Found) -> Iterator[bytes]:
    answer = client.get_object(bucket_name=one.bucket, object_name=one.key, version_id=one.version)
    try:
        while piece := answer.read(CHUNK):
            yield piece
    finally:
        answer.close()
        answer.release_conn()


def _retained_until(client: Minio, one: Found) -> datetime | None:
    found = client.stat_object(bucket_name=one.bucket, object_name=one.key, version_id=one.version)
    text = (found.metadata or {}).get(RETAIN_HEADER)
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def entries(shelf: Shelf, objects: Objects, identities: list[x25519.Identity]) -> Iterator[Entry]:
    """What the backup says of each object."""
    rest = b""
    with unsealed(shelf, objects.file, identities) as pieces:
        for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield Entry.model_validate_json(line)


def restore(
    client: Minio, shelf: Shelf, objects: Objects, identities: list[x25519.Identity], told: Told
) -> dict[str, int]:
    """Put every object back under its key, with its lock; bucket → how many. What is there already stays."""
    counts = dict.fromkeys(COPIED_BUCKETS, 0)
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="restore") as pool:
        for page in pages(entries(shelf, objects, identities), PAGE):
            for entry in pool.map(lambda one: _put(client, shelf, identities, one), page):
                counts[entry.bucket] += 1
                told("objects", sum(counts.values()))
    return counts


def _put(client: Minio, shelf: Shelf, identities: list[x25519.Identity], entry: Entry) -> Entry:
    if _is_there(client, entry):
        return entry
    lock = Retention(COMPLIANCE, entry.retain_until) if entry.retain_until else None
    with unsealed(shelf, entry.stored, identities) as pieces:
        client.put_object(
            bucket_name=entry.bucket,
            object_name=entry.key,
            data=_Reading(pieces),  # type: ignore[arg-type]
            length=entry.size,
            part_size=PART_BYTES,
            retention=lock,
        )
    return entry


def _is_there(client: Minio, entry: Entry) -> bool:
    try:
        found = client.stat_object(bucket_name=entry.bucket, object_name=entry.key)
    except S3Error as error:
        if error.code == "NoSuchKey":
            return False
        raise
    return found.size == entry.size


class _Reading:
    """A file of what is decrypted; its end is the content's end, where the digest was compared."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        taken, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return taken
