"""`NoticeBook` on MongoDB: collection `notices`, with the outbox `events`."""

from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from imaging_common.events import NoticeRaised
from imaging_common.messaging.outbox import Outbox

Document = dict[str, Any]
TOPIC = "notice-raised"


class MongoNoticeBook:
    """A notice and its event are one transaction; its id is the document's, so that it is raised once."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, outbox: Outbox) -> None:
        self._client = client
        self._notices = client[database]["notices"]
        self._outbox = outbox

    async def check(self) -> None:
        """Raise when MongoDB does not answer."""
        await self._client.admin.command("ping")

    async def raise_once(self, notice: NoticeRaised) -> bool:
        """See `NoticeBook.raise_once`."""

        async def write(session: AsyncClientSession) -> None:
            document = notice.model_dump(exclude={"notice_id"})
            await self._notices.insert_one({"_id": notice.notice_id, **document}, session=session)
            await self._outbox.add(TOPIC, notice, notice.recipient, session=session)

        try:
            async with self._client.start_session() as session:
                await session.with_transaction(write)
        except DuplicateKeyError:
            return False
        self._outbox.notify()
        return True
