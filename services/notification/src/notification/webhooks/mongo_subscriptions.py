"""`SubscriptionStore` on MongoDB: collections `subscriptions` (secrets sealed) and `webhook_log`."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase

from imaging_common.mongo import ensure_index
from notification.webhooks.errors import NoSubscription, NoWebhooks, SubscriptionChanged
from notification.webhooks.model import Attempt, Secret, State, Subscription

Document = dict[str, Any]
DEADLINE_MS = 5_000
LOG_KEPT = timedelta(days=30)
DECIDED = {"url", "types", "description", "state", "cursor", "failures", "failing_since", "next_attempt_at"}


class MongoSubscriptions:
    """A secret is of no use to who reads the database without the setting that seals it."""

    def __init__(self, database: AsyncDatabase[Document], seal: str) -> None:
        self._subscriptions = database["subscriptions"]
        self._log = database["webhook_log"]
        self._box = Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"webhooks:" + seal.encode()).digest()))
        self._sealed = bool(seal)

    async def prepare(self) -> None:
        """Make the indexes."""
        await self._subscriptions.create_index([("state", 1), ("next_attempt_at", 1)])
        await self._log.create_index([("subscription", 1), ("at", -1)])
        await ensure_index(self._log, "at", expireAfterSeconds=int(LOG_KEPT.total_seconds()))

    async def add(self, subscription: Subscription) -> None:
        """See `SubscriptionStore.add`; raises NoWebhooks."""
        if not self._sealed:
            raise NoWebhooks
        await self._subscriptions.insert_one({"_id": subscription.id, **self._document(subscription)})

    async def all(self) -> list[Subscription]:
        """See `SubscriptionStore.all`."""
        found = self._subscriptions.find({}, max_time_ms=DEADLINE_MS)
        return [self._of(one) async for one in found.sort([("organisation", 1), ("created_at", 1)])]

    async def get(self, subscription_id: str) -> Subscription:
        """See `SubscriptionStore.get`."""
        found = await self._subscriptions.find_one({"_id": subscription_id}, max_time_ms=DEADLINE_MS)
        if found is None:
            raise NoSubscription(subscription_id)
        return self._of(found)

    async def change(self, before: Subscription, after: Subscription) -> Subscription:
        """See `SubscriptionStore.change`."""
        after = after.model_copy(update={"revision": before.revision + 1})
        whole = self._document(after)
        change = {name: whole[name] for name in (*DECIDED, "revision", "sealed")}
        done = await self._subscriptions.update_one({"_id": before.id, "revision": before.revision}, {"$set": change})
        if not done.matched_count:
            await self.get(before.id)
            raise SubscriptionChanged(before.id)
        return after

    async def remove(self, subscription_id: str) -> None:
        """See `SubscriptionStore.remove`."""
        if not (await self._subscriptions.delete_one({"_id": subscription_id})).deleted_count:
            raise NoSubscription(subscription_id)
        await self._log.delete_many({"subscription": subscription_id})

    async def due(self, now: datetime) -> list[Subscription]:
        """See `SubscriptionStore.due`."""
        free = {"$or": [{"next_attempt_at": None}, {"next_attempt_at": {"$lte": now}}]}
        found = self._subscriptions.find({"state": "active", **free}, max_time_ms=DEADLINE_MS).sort("_id", ASCENDING)
        return [self._of(one) async for one in found]

    async def passed(self, subscription: Subscription, seq: int) -> bool:
        """See `SubscriptionStore.passed`."""
        done = await self._subscriptions.update_one(_as_it_was(subscription), {"$set": {"cursor": seq}})
        return bool(done.matched_count)

    async def noted(
        self, subscription: Subscription, attempt: Attempt, state: State, next_attempt_at: datetime | None
    ) -> bool:
        """See `SubscriptionStore.noted`."""
        change: Document = {
            "last_status": attempt.status,
            "last_error": attempt.error,
            "last_answer_at": attempt.at,
            "next_attempt_at": next_attempt_at,
            "state": state,
        }
        if attempt.ok:
            change |= {"cursor": attempt.seq, "failures": 0, "failing_since": None, "last_success_at": attempt.at}
        else:
            change |= {"failures": subscription.failures + 1, "failing_since": subscription.failing_since or attempt.at}
        done = await self._subscriptions.update_one(_as_it_was(subscription), {"$set": change})
        await self._log.insert_one({"subscription": subscription.id, **attempt.model_dump()})
        return bool(done.matched_count)

    async def attempts(self, subscription_id: str, limit: int) -> Sequence[Attempt]:
        """See `SubscriptionStore.attempts`."""
        found = self._log.find({"subscription": subscription_id}, max_time_ms=DEADLINE_MS)
        return [Attempt.model_validate(one) async for one in found.sort("at", DESCENDING).limit(limit)]

    def _document(self, subscription: Subscription) -> Document:
        kept = subscription.model_dump(exclude={"id", "types"})
        sealed = [
            {"value": self._box.encrypt(one.value.encode()), "expires_at": one.expires_at}
            for one in subscription.secrets
        ]
        return {**kept, "types": sorted(subscription.types), "sealed": sealed}

    def _of(self, document: Document) -> Subscription:
        secrets = [
            Secret(value=self._box.decrypt(one["value"]).decode(), expires_at=one["expires_at"])
            for one in document["sealed"]
        ]
        return Subscription.model_validate({**document, "id": document["_id"], "secrets": secrets})


def _as_it_was(subscription: Subscription) -> Document:
    return {"_id": subscription.id, "revision": subscription.revision, "cursor": subscription.cursor}
