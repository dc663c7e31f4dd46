"""`DeliveryStore`, `PreferenceStore` and `SeenBook` on MongoDB: `plans`, `deliveries`, `seen`, `preferences`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession

from imaging_common.events import NoticeRaised
from imaging_common.mongo import ensure_index
from notification.deliveries.model import Channel, Delivery, Plan, Preferences, State

Document = dict[str, Any]
LEASE = timedelta(seconds=45)
"""So long a copy has for what it claimed; every attempt's deadline is well below."""
SEEN_SECONDS = 7 * 24 * 3600
DEADLINE_MS = 5_000


class MongoDeliveries:
    """A claim moves `due_at` into the future: who does not finish in time has lost it to whoever asks next."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, keep_days: int) -> None:
        self._client = client
        self._keep = keep_days * 24 * 3600
        self._plans = client[database]["plans"]
        self._deliveries = client[database]["deliveries"]
        self._seen = client[database]["seen"]
        self._preferences = client[database]["preferences"]

    async def prepare(self) -> None:
        """Make the indexes."""
        await self._plans.create_index([("due_at", ASCENDING)])
        waiting = {"state": "waiting"}
        await ensure_index(self._deliveries, [("due_at", ASCENDING)], partialFilterExpression=waiting)
        await self._deliveries.create_index([("raised_at", DESCENDING)])
        await ensure_index(self._deliveries, [("link", ASCENDING)], partialFilterExpression=waiting)
        await self._deliveries.create_index([("notice_ids", ASCENDING), ("user", ASCENDING)])
        await ensure_index(self._deliveries, "ended_at", expireAfterSeconds=self._keep)
        await ensure_index(self._seen, "at", expireAfterSeconds=SEEN_SECONDS)

    async def next_plan(self, now: datetime) -> Plan | None:
        """See `DeliveryStore.next_plan`."""
        found = await self._plans.find_one_and_update(
            {"due_at": {"$lte": now}},
            {"$set": {"due_at": now + LEASE}, "$inc": {"attempts": 1}},
            sort=[("due_at", ASCENDING)],
            return_document=ReturnDocument.AFTER,
        )
        if found is None:
            return None
        notice = NoticeRaised.model_validate(
            {"notice_id": found["_id"], **{name: found[name] for name in NoticeRaised.model_fields if name in found}}
        )
        return Plan(notice=notice, cause=found["cause"], by=found["by"], at=found["at"], attempts=found["attempts"])

    async def planned(self, plan: Plan, deliveries: Sequence[Delivery]) -> None:
        """See `DeliveryStore.planned`."""

        async def write(session: AsyncClientSession) -> None:
            for one in deliveries:
                document = one.model_dump(exclude={"id", "notice_ids", "next_attempt_at"})
                await self._deliveries.update_one(
                    {"_id": one.id},
                    {
                        "$setOnInsert": {**document, "due_at": one.next_attempt_at},
                        "$addToSet": {"notice_ids": {"$each": one.notice_ids}},
                    },
                    upsert=True,
                    session=session,
                )
            await self._plans.delete_one({"_id": plan.notice.notice_id}, session=session)

        async with self._client.start_session() as session:
            await session.with_transaction(write)

    async def plan_later(self, plan: Plan, at: datetime) -> None:
        """See `DeliveryStore.plan_later`."""
        await self._plans.update_one({"_id": plan.notice.notice_id}, {"$set": {"due_at": at}})

    async def next_delivery(self, now: datetime) -> Delivery | None:
        """See `DeliveryStore.next_delivery`."""
        found = await self._deliveries.find_one_and_update(
            {"state": "waiting", "due_at": {"$lte": now}},
            {"$set": {"due_at": now + LEASE}, "$inc": {"attempts": 1}},
            sort=[("due_at", ASCENDING)],
            return_document=ReturnDocument.AFTER,
        )
        return None if found is None else _delivery(found)

    async def has_seen(self, delivery: Delivery) -> bool:
        """See `DeliveryStore.has_seen`."""
        keys = [_seen_key(notice_id, delivery.user) for notice_id in delivery.notice_ids]
        return await self._seen.find_one({"_id": {"$in": keys}}, max_time_ms=DEADLINE_MS) is not None

    async def ended(self, delivery: Delivery, state: State, now: datetime, *, reason: str = "", to: str = "") -> None:
        """See `DeliveryStore.ended`; of two copies that both sent it the first writes it down."""
        change = {"state": state, "reason": reason, "to": to, "ended_at": now}
        await self._deliveries.update_one({"_id": delivery.id, "state": "waiting"}, {"$set": change})

    async def later(self, delivery: Delivery, at: datetime, *, reason: str, counted: bool) -> None:
        """See `DeliveryStore.later`."""
        change: Document = {"$set": {"due_at": at, "reason": reason}}
        if not counted:
            change["$inc"] = {"attempts": -1}
        await self._deliveries.update_one({"_id": delivery.id, "state": "waiting"}, change)

    async def hasten(self, delivery: Delivery, channel: Channel, at: datetime) -> None:
        """See `DeliveryStore.hasten`; what was tried already keeps its own pace."""
        same = {"notice_ids": {"$in": delivery.notice_ids}, "user": delivery.user, "channel": channel}
        where = {**same, "state": "waiting", "attempts": 0}
        await self._deliveries.update_one(where, {"$min": {"due_at": at}})

    async def log(
        self, *, state: str, channel: str, user: str, before: datetime | None, limit: int
    ) -> Sequence[Delivery]:
        """See `DeliveryStore.log`."""
        asked = (("state", state), ("channel", channel), ("user", user))
        where: Document = {name: value for name, value in asked if value}
        if before is not None:
            where["raised_at"] = {"$lt": before}
        cursor = self._deliveries.find(where, max_time_ms=DEADLINE_MS)
        found = await cursor.sort("raised_at", DESCENDING).limit(limit).to_list()
        return [_delivery(one) for one in found]

    async def seen(self, notice_id: str, user: str) -> None:
        """See `SeenBook.seen`; first what is asked before each sending, then the log."""
        key = _seen_key(notice_id, user)
        now = datetime.now(UTC)
        await self._seen.update_one({"_id": key}, {"$setOnInsert": {"at": now}}, upsert=True)
        where = {"notice_ids": notice_id, "user": user, "state": "waiting"}
        change = {"state": "not-needed", "reason": "seen", "ended_at": now}
        await self._deliveries.update_many(where, {"$set": change})

    async def of(self, user: str) -> Preferences:
        """See `PreferenceStore.of`."""
        found = await self._preferences.find_one({"_id": user}, max_time_ms=DEADLINE_MS)
        return Preferences() if found is None else Preferences.model_validate(found["chosen"], extra="ignore")

    async def keep(self, user: str, preferences: Preferences) -> None:
        """See `PreferenceStore.keep`."""
        chosen = preferences.model_dump(mode="json")
        await self._preferences.replace_one({"_id": user}, {"chosen": chosen}, upsert=True)


def _seen_key(notice_id: str, user: str) -> str:
    return f"{notice_id} {user}"


def _delivery(found: Document) -> Delivery:
    return Delivery.model_validate({**found, "id": found["_id"], "next_attempt_at": found["due_at"]})
