"""What operators say of reports, in MongoDB (`gateway.report_statements`); told through the outbox."""

from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from imaging_common.events import ReportMatched
from imaging_common.messaging.outbox import Outbox

TOPIC = "reports-received"


class MongoStatements:
    """`ReportStatements` on MongoDB: one document a report with the statement that counts."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], outbox: Outbox) -> None:
        self._client = database.client
        self._statements = database["report_statements"]
        self._outbox = outbox

    async def state(self, hospital: str, report_key: str, study_uid: str | None, user: str, after: int) -> bool:
        """See `ReportStatements.state`."""

        async def transaction(session: AsyncClientSession) -> bool:
            identity = f"{hospital}/{report_key}"
            known = await self._statements.find_one({"_id": identity}, session=session)
            if known is not None and known["revision"] > after:
                return False
            statement = {"revision": after + 1, "study_uid": study_uid, "user": user}
            await self._statements.replace_one({"_id": identity}, statement, upsert=True, session=session)
            event = ReportMatched(
                hospital=hospital, report_key=report_key, study_uid=study_uid, revision=after + 1, user=user
            )
            await self._outbox.add(TOPIC, event, report_key, session=session)
            return True

        async with self._client.start_session() as session:
            done = await session.with_transaction(transaction)
        self._outbox.notify()
        return bool(done)
