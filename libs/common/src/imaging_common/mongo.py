"""The connection to MongoDB: majority writes and reads, deadlines on every operation, times with a zone. Indexes."""

from collections.abc import Sequence
from typing import Any

from pymongo import AsyncMongoClient, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from imaging_common.settings import ServiceSettings

SERVER_SELECTION_MS = 5_000
SOCKET_MS = 30_000
INDEX_NOT_FOUND, OPTIONS_CONFLICT, SPECIFICATION_CONFLICT = 27, 85, 86


def connect(settings: ServiceSettings) -> AsyncMongoClient[dict[str, Any]]:
    """Return a client; it connects at the first operation, and again after the server was away."""
    return AsyncMongoClient(
        settings.mongo_url,
        tz_aware=True,
        serverSelectionTimeoutMS=SERVER_SELECTION_MS,
        connectTimeoutMS=SERVER_SELECTION_MS,
        socketTimeoutMS=SOCKET_MS,
        waitQueueTimeoutMS=SERVER_SELECTION_MS,
        retryWrites=True,
        w="majority",
        journal=True,
        readConcernLevel="majority",
    )


async def check(client: AsyncMongoClient[dict[str, Any]]) -> None:
    """Raise when MongoDB does not answer."""
    await client.admin.command("ping")


async def ensure_index(
    collection: AsyncCollection[dict[str, Any]], keys: str | Sequence[tuple[str, int]], **options: Any
) -> None:
    """Make an index, any number of times; one on the same keys with other options (of another release) is replaced.

    Copies of two releases may do so at the same time: the last that started has its way.

    Raises
    ------
    PyMongoError
        MongoDB does not answer, or the documents do not allow the index.
    """
    try:
        await collection.create_index(keys, **options)
    except OperationFailure as error:
        if error.code not in (OPTIONS_CONFLICT, SPECIFICATION_CONFLICT):
            raise
    else:
        return
    wanted = IndexModel(keys, **options).document
    for name, found in (await collection.index_information()).items():
        if name == wanted["name"] or found["key"] == list(wanted["key"].items()):
            await _drop(collection, name)
    await collection.create_index(keys, **options)


async def _drop(collection: AsyncCollection[dict[str, Any]], name: str) -> None:
    try:
        await collection.drop_index(name)
    except OperationFailure as error:  # another copy was faster
        if error.code != INDEX_NOT_FOUND:
            raise
