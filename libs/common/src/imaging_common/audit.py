"""Writes the audit record (PS3.15 A.5): who did what to which study, allowed or not; durable before it is shown."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import uuid4

from imaging_common.events import AuditRecorded
from imaging_common.events.people import AuditAction, AuditOutcome
from imaging_common.messaging.ports import EventPublisher

TOPIC = "audit-recorded"
Action = AuditAction
Outcome = AuditOutcome


class AuditTrail:
    """One service's side of the audit record."""

    def __init__(self, service: str, publisher: EventPublisher) -> None:
        self._service = service
        self._publisher = publisher

    async def record(
        self,
        *,
        action: Action,
        outcome: Outcome,
        user: str,
        reason: str = "",
        hospital: str = "",
        study_uid: str | None = None,
        holder: str | None = None,
        consult_id: str | None = None,
        count: int = 1,
        audit_id: str | None = None,
        roles: Iterable[str] = (),
        session: str = "",
        resident_id: str | None = None,
        grant_id: str | None = None,
        purpose: str = "",
        source: str = "",
    ) -> None:
        """Return once the record is durable; a repeated act passes the same `audit_id`.

        Raises
        ------
        PublishFailed
            The record is not durable: the act must not be shown to anybody.
        """
        event = AuditRecorded(
            audit_id=audit_id or uuid4().hex,
            service=self._service,
            action=action,
            outcome=outcome,
            reason=reason,
            user=user,
            hospital=hospital,
            study_uid=study_uid,
            holder=holder,
            consult_id=consult_id,
            count=count,
            roles=sorted(roles),
            session=session,
            resident_id=resident_id,
            grant_id=grant_id,
            purpose=purpose,
            source=source,
            at=datetime.now(UTC),
        )
        await self._publisher.publish(TOPIC, event, self._service, event_id=event.audit_id)
