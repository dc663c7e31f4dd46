"""Orders and operators' commands in MongoDB (`gateway.orders`, `gateway.study_commands`); told through the outbox."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from gateway.model import Order, StudyCommands
from imaging_common.audit import TOPIC as AUDIT_TOPIC
from imaging_common.events import (
    AuditRecorded,
    Event,
    OrderCancelled,
    StudyDeletionRequested,
    StudyHeld,
    StudyRestored,
)
from imaging_common.messaging.outbox import Outbox
from imaging_common.mongo import ensure_index

PAST = timedelta(days=1)
KEEP_ORDERS_SECONDS = 90 * 24 * 3600
DEADLINE_MS = 5_000


class MongoOrders:
    """`OrderBook`: one document an order."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], outbox: Outbox) -> None:
        self._client = database.client
        self._orders = database["orders"]
        self._outbox = outbox

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._orders.create_index([("hospital", 1), ("order.scheduled_at", 1)])
        await ensure_index(self._orders, "order.scheduled_at", expireAfterSeconds=KEEP_ORDERS_SECONDS)

    async def place(self, order: Order, record: AuditRecorded) -> None:
        """See `OrderBook.place`."""

        async def transaction(session: AsyncClientSession) -> None:
            await self._orders.insert_one({"_id": order.order.order_id, **order.model_dump()}, session=session)
            await self._outbox.add(_topic(order.hospital), order.order, order.order.study_uid, session=session)
            await _record(self._outbox, record, session)

        try:
            async with self._client.start_session() as session:
                await session.with_transaction(transaction)
        except DuplicateKeyError:
            return
        self._outbox.notify()

    async def cancel(self, hospital: str, order_id: str, record: AuditRecorded) -> Order | None:
        """See `OrderBook.cancel`."""
        where = {"_id": order_id, "hospital": hospital, "cancelled": False}

        async def transaction(session: AsyncClientSession) -> dict[str, Any] | None:
            found = await self._orders.find_one_and_update(where, {"$set": {"cancelled": True}}, session=session)
            if found is not None:
                order = found["order"]
                event = OrderCancelled(order_id=order_id, revision=order["revision"] + 1)
                await self._outbox.add(_topic(hospital), event, order["study_uid"], session=session)
                await _record(self._outbox, record.model_copy(update={"study_uid": order["study_uid"]}), session)
            return found

        async with self._client.start_session() as session:
            found = await session.with_transaction(transaction)
        self._outbox.notify()
        return None if found is None else Order.model_validate(found)

    async def open_orders(self, hospital: str, limit: int) -> list[Order]:
        """See `OrderBook.open_orders`."""
        since = datetime.now(UTC) - PAST
        where = {"hospital": hospital, "cancelled": False, "order.scheduled_at": {"$gte": since}}
        cursor = self._orders.find(where, max_time_ms=DEADLINE_MS).sort("order.scheduled_at").limit(limit)
        return [Order.model_validate(document) async for document in cursor]


class MongoCommands:
    """`CommandBook`: one document a (holder, study)."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], outbox: Outbox) -> None:
        self._client = database.client
        self._commands = database["study_commands"]
        self._outbox = outbox

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._commands.create_index([("deleted", 1), ("purge_after", 1)])

    async def of(self, holder: str, study_uid: str) -> StudyCommands:
        """See `CommandBook.of`."""
        found = await self._commands.find_one({"_id": f"{holder}/{study_uid}"}, max_time_ms=DEADLINE_MS)
        return StudyCommands.model_validate(found or {"holder": holder, "study_uid": study_uid})

    async def delete(
        self, commands: StudyCommands, *, reason: str, user: str, purge_after: datetime, record: AuditRecorded
    ) -> bool:
        """See `CommandBook.delete`."""
        after = commands.model_copy(update={"deleted": True, "purge_after": purge_after})
        event = StudyDeletionRequested(
            **_subject(commands), reason=reason, user=user, purge_after=purge_after, revision=commands.revision + 1
        )
        return await self._command(commands, after, event, record)

    async def restore(self, commands: StudyCommands, *, user: str, record: AuditRecorded) -> bool:
        """See `CommandBook.restore`."""
        after = commands.model_copy(update={"deleted": False, "purge_after": None})
        event = StudyRestored(**_subject(commands), user=user, revision=commands.revision + 1)
        return await self._command(commands, after, event, record)

    async def hold(self, commands: StudyCommands, *, held: bool, user: str, record: AuditRecorded) -> bool:
        """See `CommandBook.hold`."""
        after = commands.model_copy(update={"held": held})
        event = StudyHeld(**_subject(commands), user=user, held=held, revision=commands.revision + 1)
        return await self._command(commands, after, event, record)

    async def deleted(self, holder: str | None, limit: int) -> list[StudyCommands]:
        """See `CommandBook.deleted`."""
        where: dict[str, Any] = {"deleted": True, "purge_after": {"$gt": datetime.now(UTC)}}
        if holder is not None:
            where["holder"] = holder
        cursor = self._commands.find(where, max_time_ms=DEADLINE_MS).sort("purge_after").limit(limit)
        return [StudyCommands.model_validate(document) async for document in cursor]

    async def _command(self, before: StudyCommands, after: StudyCommands, event: Event, record: AuditRecorded) -> bool:
        """Write and tell in one transaction, if nobody else ordered something since `before` was read."""
        document = {**after.model_dump(), "revision": before.revision + 1}
        key = f"{before.holder}/{before.study_uid}"

        async def transaction(session: AsyncClientSession) -> bool:
            if before.revision == 0:
                await self._commands.insert_one({"_id": key, **document}, session=session)
            else:
                where = {"_id": key, "revision": before.revision}
                done = await self._commands.replace_one(where, document, session=session)
                if done.matched_count == 0:
                    return False
            await self._outbox.add("study-commanded", event, before.study_uid, session=session)
            await _record(self._outbox, record, session)
            return True

        try:
            async with self._client.start_session() as session:
                done = await session.with_transaction(transaction)
        except DuplicateKeyError:
            return False
        self._outbox.notify()
        return done


async def _record(outbox: Outbox, record: AuditRecorded, session: AsyncClientSession) -> None:
    """The act and its audit record are one write: there is no act without a record, and no record without the act."""
    await outbox.add(AUDIT_TOPIC, record, record.service, session=session)


def _topic(hospital: str) -> str:
    return f"edge-commands-{hospital}"


def _subject(commands: StudyCommands) -> dict[str, str]:
    return {"study_uid": commands.study_uid, "holder": commands.holder}
