"""`Onboardings` in MongoDB (`gateway.onboardings`); what waits for the hospital is encrypted."""

import base64
import hashlib
from datetime import datetime
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from gateway.operations.onboarding import Onboarding, Secrets, Step, StepState

DEADLINE_MS = 5_000
WITHOUT_SECRETS = {"sealed": 0}


class MongoOnboardings:
    """One document a hospital; `run` guards its order."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], secret: str) -> None:
        self._onboardings = database["onboardings"]
        self._box = Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"onboarding:" + secret.encode()).digest()))

    async def begin(self, onboarding: Onboarding, secrets: Secrets) -> bool:
        """See `Onboardings.begin`."""
        document = {**onboarding.model_dump(), "sealed": self._seal(secrets)}
        if onboarding.run == 1:
            try:
                await self._onboardings.insert_one({"_id": onboarding.hospital, **document})
            except DuplicateKeyError:
                return False
            return True
        free = {"$or": [{"running_until": None}, {"running_until": {"$lt": onboarding.started_at}}]}
        where = {"_id": onboarding.hospital, "run": onboarding.run - 1, **free}
        return bool((await self._onboardings.replace_one(where, document)).matched_count)

    async def of(self, hospital: str) -> Onboarding | None:
        """See `Onboardings.of`."""
        found = await self._onboardings.find_one({"_id": hospital}, WITHOUT_SECRETS, max_time_ms=DEADLINE_MS)
        return None if found is None else Onboarding.model_validate(found)

    async def all(self) -> list[Onboarding]:
        """See `Onboardings.all`."""
        found = self._onboardings.find({}, WITHOUT_SECRETS, max_time_ms=DEADLINE_MS).sort("_id")
        return [Onboarding.model_validate(document) async for document in found]

    async def take_turn(self, hospital: str, now: datetime, until: datetime) -> bool:
        """See `Onboardings.take_turn`."""
        where = {"_id": hospital, "$or": [{"running_until": None}, {"running_until": {"$lt": now}}]}
        return bool((await self._onboardings.update_one(where, {"$set": {"running_until": until}})).matched_count)

    async def give_back(self, hospital: str) -> None:
        """See `Onboardings.give_back`."""
        await self._onboardings.update_one({"_id": hospital}, {"$set": {"running_until": None}})

    async def note(self, hospital: str, step: Step, state: StepState, until: datetime) -> None:
        """See `Onboardings.note`."""
        change = {f"steps.{step}": state.model_dump(), "running_until": until}
        await self._onboardings.update_one({"_id": hospital}, {"$set": change})

    async def secrets(self, hospital: str) -> Secrets | None:
        """See `Onboardings.secrets`."""
        found = await self._onboardings.find_one({"_id": hospital}, {"sealed": 1}, max_time_ms=DEADLINE_MS)
        return self._open(found)

    async def keep(self, hospital: str, secrets: Secrets) -> None:
        """See `Onboardings.keep`."""
        await self._onboardings.update_one({"_id": hospital}, {"$set": {"sealed": self._seal(secrets)}})

    async def fetch(self, hospital: str, user: str, now: datetime) -> Secrets | None:
        """See `Onboardings.fetch`: the document as it was before the update has them, and only one asker sees it."""
        taken = {"$set": {"sealed": None, "taken_at": now, "taken_by": user}}
        return self._open(
            await self._onboardings.find_one_and_update({"_id": hospital, "sealed": {"$ne": None}}, taken)
        )

    def _seal(self, secrets: Secrets) -> bytes:
        return self._box.encrypt(secrets.model_dump_json().encode())

    def _open(self, document: dict[str, Any] | None) -> Secrets | None:
        """None also when another secret encrypted it: then only new credentials help."""
        if document is None or not document.get("sealed"):
            return None
        try:
            return Secrets.model_validate_json(self._box.decrypt(document["sealed"]))
        except InvalidToken:
            return None
