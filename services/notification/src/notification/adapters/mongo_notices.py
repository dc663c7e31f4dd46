"""`NoticeBook` on MongoDB: collections `notices` and `plans` (what is to be delivered), with the outbox `events`."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from imaging_common.events import NoticeRaised
from imaging_common.messaging.outbox import Outbox

Document = dict[str, Any]
TOPIC = "notice-raised"


class MongoNoticeBook:
    """A notice, its event and its plan are one transaction; its id is the document's, so that it is raised once."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, outbox: Outbox) -> None:
        self._client = client
        self._notices = client[database]["notices"]
        self._plans = client[database]["plans"]
        self._deliveries = client[database]["deliveries"]
        self._outbox = outbox

    async def check(self) -> None:
        """Raise when MongoDB does not answer."""
        await self._client.admin.command("ping")

    async def raise_once(
        self, notice: NoticeRaised, *, cause: str = "", by: str = "", at: datetime | None = None
    ) -> bool:
        """See `NoticeBook.raise_once`."""

        async def write(session: AsyncClientSession) -> None:
            document = {"_id": notice.notice_id, **notice.model_dump(exclude={"notice_id"})}
            await self._notices.insert_one(document, session=session)
            plan = {
                **document,
                "cause": cause or notice.notice_id,
                "by": by,
                "at": at or notice.raised_at,
                "due_at": notice.raised_at,
            }
            await self._plans.insert_one(plan, session=session)
            await self._outbox.add(TOPIC, notice, notice.recipient, session=session)

        try:
            async with self._client.start_session() as session:
                await session.with_transaction(write)
        except DuplicateKeyError:
            return False
        self._outbox.notify()
        return True

    async def settle(self, link: str, kinds: Sequence[str], before: datetime) -> None:
        """See `NoticeBook.settle`; the time is the event's own, so that a repetition settles nothing newer."""
        begin = "|".join(re.escape(kind) for kind in kinds)
        where: Document = {"link": link, "kind": {"$regex": f"^(?:{begin})"}, "at": {"$lt": before}}
        await self._plans.delete_many(where)
        change = {"state": "not-needed", "reason": "settled", "ended_at": datetime.now(UTC)}
        await self._deliveries.update_many({**where, "state": "waiting"}, {"$set": change})
