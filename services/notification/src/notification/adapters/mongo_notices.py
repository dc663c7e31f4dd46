"""`NoticeBook` on MongoDB: collection `notices`, with the outbox `events`."""

from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession

from imaging_common.events import NoticeRaised
from imaging_common.messaging.outbox import Outbox

Document = dict[str, Any]


class MongoNoticeBook:
    """A notice and its event are one transaction."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, outbox: Outbox) -> None:
        self._client = client
        self._notices = client[database]["notices"]
        self._outbox = outbox

    async def check(self) -> None:
        """Raise when MongoDB does not answer."""
        await self._client.admin.command("ping")

    async def raise_once(self, notice: NoticeRaised) -> bool:
        """See `NoticeBook.raise_once`."""

        async def write(session: AsyncClientSession) -> bool:
            if await self._notices.find_one({"_id": notice.notice_id}, session=session):
                return False
            document = notice.model_dump(mode="json", exclude={"notice_id"})
            await self._notices.insert_one({"_id": notice.notice_id, **document}, session=session)
            await self._outbox.add("notice-raised", notice, notice.recipient, session=session)
            return True

        async with self._client.start_session() as session:
            raised = bool(await session.with_transaction(write))
        self._outbox.notify()
        return raised
