"""Operators' statements about patients in MongoDB (`gateway.links`): a counter per patient, told through the outbox."""

import hashlib
from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from imaging_common.events import PatientLinked, PatientUnlinked
from imaging_common.messaging.outbox import Outbox

TOPIC = "patient-linked"


class MongoPatientStatements:
    """`PatientStatements` on MongoDB."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], outbox: Outbox) -> None:
        self._client = database.client
        self._links = database["links"]
        self._outbox = outbox

    async def say(self, hospital: str, patient_id: str, resident_id: str | None) -> int:
        """See `PatientStatements.say`."""
        key = topic_key(hospital, patient_id)

        async def transaction(session: AsyncClientSession) -> int:
            counted = await self._links.find_one_and_update(
                {"_id": key}, {"$inc": {"revision": 1}}, upsert=True, return_document=ReturnDocument.AFTER,
                session=session,
            )  # fmt: skip
            revision = int((counted or {})["revision"])
            event = statement(hospital, patient_id, resident_id, revision)
            await self._outbox.add(TOPIC, event, key, session=session)
            return revision

        async with self._client.start_session() as session:
            revision = await session.with_transaction(transaction)
        self._outbox.notify()
        return revision


class FakePatientStatements:
    """`PatientStatements` in memory; keeps what was said."""

    def __init__(self) -> None:
        self.said: list[PatientLinked | PatientUnlinked] = []

    async def say(self, hospital: str, patient_id: str, resident_id: str | None) -> int:
        """See `PatientStatements.say`."""
        known = [one for one in self.said if (one.hospital, one.patient_id) == (hospital, patient_id)]
        self.said.append(statement(hospital, patient_id, resident_id, len(known) + 1))
        return len(known) + 1


def topic_key(hospital: str, patient_id: str) -> str:
    """A digest, for no patient id stands in a key; it differs from the EHR's, so that compaction keeps both."""
    return hashlib.sha256(f"operator|{hospital}^{patient_id}".encode()).hexdigest()


def statement(
    hospital: str, patient_id: str, resident_id: str | None, revision: int
) -> PatientLinked | PatientUnlinked:
    """An operator's statement."""
    if resident_id is None:
        return PatientUnlinked(hospital=hospital, patient_id=patient_id, revision=revision, source="operator")
    return PatientLinked(
        hospital=hospital, patient_id=patient_id, resident_id=resident_id, revision=revision, source="operator"
    )
