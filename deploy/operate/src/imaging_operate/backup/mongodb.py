"""MongoDB in a backup: every collection of the services as of one cluster time, as a stream of BSON documents."""

import contextlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import IndexModel
from pymongo.client_session import ClientSession
from pyrage import x25519

from imaging_operate.backup.model import LEFT_OUT, Collection
from imaging_operate.backup.sealing import seal, unsealed
from imaging_operate.backup.shelf import Shelf
from imaging_operate.console import OperatingError
from imaging_operate.servers import Mongo
from imaging_operate.topology import DATABASES

RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
HISTORY = "minSnapshotHistoryWindowInSeconds"
HISTORY_SECONDS = 6 * 3600
"""How long a backup may read from its snapshot; MongoDB's own bound is five minutes."""
BATCH_DOCUMENTS, BATCH_BYTES = 1000, 8 * 1024 * 1024
SYSTEM = "system."
Told = Callable[[str, int], None]
"""Told (what, documents or objects so far)."""


@contextlib.contextmanager
def snapshot(client: Mongo) -> Iterator[ClientSession]:
    """A session whose reads all see one cluster time; MongoDB keeps that for hours instead of minutes meanwhile."""
    before = client.admin.command({"getParameter": 1, HISTORY: 1})[HISTORY]
    client.admin.command({"setParameter": 1, HISTORY: max(before, HISTORY_SECONDS)})
    try:
        with client.start_session(snapshot=True) as session:
            yield session
    finally:
        client.admin.command({"setParameter": 1, HISTORY: before})


def collections(client: Mongo) -> list[tuple[str, str, dict[str, Any]]]:
    """(database, collection, options) of everything that a backup saves."""
    found = []
    for database in DATABASES.values():
        for info in client[database].list_collections():
            name = info["name"]
            if info["type"] == "collection" and not name.startswith(SYSTEM) and name not in LEFT_OUT.get(database, ()):
                found.append((database, name, info["options"]))
    return sorted(found, key=lambda one: one[:2])


def dump(
    client: Mongo, session: ClientSession, shelf: Shelf, backup: str, recipients: list[x25519.Recipient], told: Told
) -> list[Collection]:
    """Save all collections as the session sees them."""
    saved = []
    for database, name, options in collections(client):
        count = _Count(f"{database}.{name}", told)
        source: Iterable[RawBSONDocument] = _raw(client, database, name).find(session=session)
        path = f"{backup}/mongodb/{database}/{name}.bson.zst.age"
        file = seal(shelf, path, count.documents(bytes(one.raw) for one in source), recipients, compress=True)
        indexes = [_index(one) for one in client[database][name].list_indexes()]
        saved.append(
            Collection(
                database=database, name=name, documents=count.count, options=_plain(options), indexes=indexes, file=file
            )
        )
    return saved


def restore(client: Mongo, shelf: Shelf, saved: Collection, identities: list[x25519.Identity], told: Told) -> int:
    """Put a collection in the place of whatever is there, with its indexes; how many documents.

    Raises
    ------
    OperatingError
        The backup's file is damaged or does not hold what its manifest says.
    """
    database = client[saved.database]
    database.drop_collection(saved.name)
    database.create_collection(saved.name, **json_util.loads(json.dumps(saved.options)))
    target = _raw(client, saved.database, saved.name)
    count = _Count(f"{saved.database}.{saved.name}", told)
    with unsealed(shelf, saved.file, identities) as pieces:
        for batch in _batches(count.documents(documents(pieces))):
            target.insert_many([RawBSONDocument(one) for one in batch], ordered=False)
    if count.count != saved.documents:
        raise OperatingError(f"{saved.file.name} holds {count.count} documents and not {saved.documents}")
    models = [_model(json_util.loads(json.dumps(one))) for one in saved.indexes]
    if models:
        database[saved.name].create_indexes(models)
    return count.count


def documents(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The BSON documents of a stream: each begins with its length (4 bytes, little endian)."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        start = 0
        while len(buffer) - start >= 4:
            (size,) = struct.unpack_from("<i", buffer, start)
            if len(buffer) - start < size:
                break
            yield bytes(buffer[start : start + size])
            start += size
        del buffer[:start]
    if buffer:
        raise OperatingError("a collection of the backup ends within a document")


def occupied(client: Mongo) -> list[str]:
    """The collections of the services that hold something."""
    return [
        f"{database}.{name}" for database, name, _ in collections(client) if client[database][name].find_one({}, {})
    ]


def drop_other(client: Mongo, saved: Iterable[Collection]) -> None:
    """Drop the services' collections that the backup does not have, and those that none has."""
    kept = {(one.database, one.name) for one in saved}
    for database, name, _ in collections(client):
        if (database, name) not in kept:
            client[database].drop_collection(name)
    for database, names in LEFT_OUT.items():
        for name in names:
            client[database].drop_collection(name)


def cluster_time(session: ClientSession) -> str:
    """The time that a snapshot session reads at; empty before its first read."""
    at = getattr(session, "_snapshot_time", None)
    return f"{at.time}.{at.inc}" if at else ""


class _Count:
    """Counts documents on their way."""

    def __init__(self, name: str, told: Told) -> None:
        self.count = 0
        self._name = name
        self._told = told

    def documents(self, source: Iterable[bytes]) -> Iterator[bytes]:
        for one in source:
            self.count += 1
            if self.count % BATCH_DOCUMENTS == 0:
                self._told(self._name, self.count)
            yield one
        self._told(self._name, self.count)


def _batches(source: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch, size = list[bytes](), 0
    for one in source:
        batch.append(one)
        size += len(one)
        if len(batch) >= BATCH_DOCUMENTS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _raw(client: Mongo, database: str, name: str) -> Any:
    return client[database].get_collection(name, codec_options=RAW)


def _plain(value: Any) -> Any:
    """BSON's types as MongoDB's extended JSON."""
    return json.loads(json_util.dumps(value))


def _index(info: Any) -> dict[str, Any]:
    index: dict[str, Any] = _plain({name: value for name, value in info.items() if name not in ("v", "ns", "key")})
    return index | {"key": [list(pair) for pair in _plain(list(info["key"].items()))]}


def _model(index: dict[str, Any]) -> IndexModel:
    options = {name: value for name, value in index.items() if name != "key"}
    return IndexModel([tuple(pair) for pair in index["key"]], **options)
