"""The connection to MongoDB: majority writes and reads, deadlines on every operation, times with a zone."""

from typing import Any

from pymongo import AsyncMongoClient

from imaging_common.settings import ServiceSettings

SERVER_SELECTION_MS = 5_000
SOCKET_MS = 30_000


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
