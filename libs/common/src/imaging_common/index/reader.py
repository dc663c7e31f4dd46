"""The few kinds of reads that everything about the index is made of: the port, and MongoDB behind it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pymongo import ReadPreference
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from imaging_common.errors import RetryableError
from imaging_common.index.streams import Clause

FIND_DEADLINE_MS = 5_000


class IndexUnavailable(RetryableError):
    """MongoDB did not answer in time."""


class IndexReader(Protocol):
    """The kinds of reads that `StudyIndex` is made of; MongoDB and the fake implement them."""

    async def find(
        self,
        collection: str,
        where: Clause,
        *,
        order: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        skip: int = 0,
        projection: Mapping[str, int] | None = None,
    ) -> list[dict[str, Any]]:
        """Documents in order; limit 0 means no limit."""
        ...

    async def count(self, collection: str, where: Clause, *, skip: int, limit: int) -> int:
        """How many documents there are behind the first `skip`, counted up to `limit`."""
        ...


class MongoIndexReader:
    """`IndexReader` on MongoDB."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._database = database.with_options(read_preference=ReadPreference.PRIMARY)

    async def find(
        self,
        collection: str,
        where: Clause,
        *,
        order: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        skip: int = 0,
        projection: Mapping[str, int] | None = None,
    ) -> list[dict[str, Any]]:
        """See `IndexReader.find`; what is limited comes in one batch."""
        cursor = self._database[collection].find(
            dict(where), projection, skip=skip, limit=limit, batch_size=limit, max_time_ms=FIND_DEADLINE_MS
        )
        if order:
            cursor = cursor.sort(list(order))
        try:
            return await cursor.to_list()
        except PyMongoError as error:
            raise IndexUnavailable(f"the index does not answer: {type(error).__name__}") from error

    async def count(self, collection: str, where: Clause, *, skip: int, limit: int) -> int:
        """See `IndexReader.count`."""
        try:
            return await self._database[collection].count_documents(
                dict(where), skip=skip, limit=limit, maxTimeMS=FIND_DEADLINE_MS
            )
        except PyMongoError as error:
            raise IndexUnavailable(f"the index does not answer: {type(error).__name__}") from error
