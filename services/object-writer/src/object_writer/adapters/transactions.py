"""A change of state and its events in one transaction."""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession

from imaging_common.audit import TOPIC as AUDIT_TOPIC
from imaging_common.events import AuditRecorded, BatchStored, InstancesEvicted, ManifestEntry
from imaging_common.messaging.outbox import Outbox

T = TypeVar("T")
Document = dict[str, Any]
STORED_TOPIC = "instances-stored"
SERVICE = "object-writer"
MAX_RECEIPT = 1000
MAX_EVICTED = 1000
"""Keys in one event."""


class Transactions:
    """Runs them, and wakes the relay after each."""

    def __init__(self, client: AsyncMongoClient[Document], outbox: Outbox) -> None:
        self._client = client
        self.outbox = outbox

    async def run(self, write: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        """Do `write`, again where it met another transaction."""
        async with self._client.start_session() as session:
            result: T = await session.with_transaction(write)
        self.outbox.notify()
        return result

    async def tell_evicted(
        self,
        study_id: str,
        bucket: Literal["cache", "archive", "staging"],
        keys: Sequence[str],
        session: AsyncClientSession,
    ) -> None:
        """InstancesEvicted."""
        hospital, study_uid = study_id.split("/")
        for start in range(0, len(keys), MAX_EVICTED):
            event = InstancesEvicted(
                hospital=hospital,
                study_uid=study_uid,
                bucket=bucket,
                manifest_keys=list(keys[start : start + MAX_EVICTED]),
            )
            await self.outbox.add(STORED_TOPIC, event, study_uid, session=session)

    async def tell_purged(self, study_id: str, count: int, ordered_at: datetime, session: AsyncClientSession) -> None:
        """AuditRecorded: what an operator deleted is gone for good; the operator's own act was recorded when it was."""
        hospital, study_uid = study_id.split("/")
        record = AuditRecorded(
            audit_id=hashlib.sha256(f"purge|{study_id}|{ordered_at.isoformat()}".encode()).hexdigest()[:32],
            service=SERVICE,
            action="delete",
            outcome="success",
            reason="retention-over",
            user=SERVICE,
            study_uid=study_uid,
            holder=hospital,
            count=count,
            at=datetime.now(UTC),
        )
        await self.outbox.add(AUDIT_TOPIC, record, SERVICE, session=session)

    async def tell_stored(
        self, hospital: str, study_uid: str, names: Iterable[tuple[str, str]], session: AsyncClientSession
    ) -> None:
        """BatchStored, the receipt for an edge agent."""
        entries = [ManifestEntry(sop_instance_uid=uid, sha256=sha256) for uid, sha256 in names]
        for start in range(0, len(entries), MAX_RECEIPT):
            event = BatchStored(hospital=hospital, study_uid=study_uid, instances=entries[start : start + MAX_RECEIPT])
            await self.outbox.add(f"edge-commands-{hospital}", event, study_uid, session=session)
