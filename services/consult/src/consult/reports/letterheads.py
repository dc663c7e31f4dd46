"""`Letterheads`: what a hospital's policy says, and of its registration what that leaves empty."""

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from consult.policies.usecases import HospitalPolicies
from consult.reports.model import Letterhead
from imaging_common.events import HospitalRegistered


class MongoHospitalNames:
    """Collection `hospital_names`: one document a hospital, the latest revision."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._names = database["hospital_names"]

    async def keep(self, event: HospitalRegistered) -> None:
        """Note its names; an older registration changes nothing."""
        older = {"_id": event.hospital, "revision": {"$lt": event.revision}}
        names = {"revision": event.revision, "name_zh": event.name_zh, "name_en": event.name_en}
        try:
            await self._names.update_one(older, {"$set": names}, upsert=True)
        except DuplicateKeyError:
            return

    async def named(self, hospital: str) -> Letterhead:
        """Its names; the id of one that is not registered."""
        found = await self._names.find_one({"_id": hospital}) or {}
        return Letterhead(name_zh=found.get("name_zh") or hospital, name_en=found.get("name_en", ""))


class PolicyLetterheads:
    """`Letterheads` of policies and names."""

    def __init__(self, policies: HospitalPolicies, names: MongoHospitalNames) -> None:
        self._policies = policies
        self._names = names

    async def of(self, hospital: str) -> Letterhead:
        """See `Letterheads.of`."""
        said = (await self._policies.of(hospital)).letterhead.model_dump() if hospital else {}
        named = await self._names.named(hospital)
        return named.model_copy(update={name: value for name, value in said.items() if value})
