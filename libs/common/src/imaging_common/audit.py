"""Writes the audit record (PS3.15 A.5): who did what to which study, allowed or not; durable before it is shown."""

from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

from imaging_common.events import AuditRecorded
from imaging_common.messaging.ports import EventPublisher

TOPIC = "audit-recorded"
Action = Literal[
    "search",
    "view",
    "store",
    "sign-in",
    "sign-out",
    "apply",
    "accept",
    "draft",
    "reject",
    "issue",
    "withdraw",
    "acknowledge",
]
Outcome = Literal["success", "denied", "failed"]


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
            at=datetime.now(UTC),
        )
        await self._publisher.publish(TOPIC, event, self._service, event_id=event.audit_id)


async def record(
    publisher: EventPublisher, service: str, *, action: Action, outcome: Outcome, user: str, **fields: str | None
) -> None:
    """Write one record without keeping an `AuditTrail`."""
    known = {name: value for name, value in fields.items() if value is not None}
    await AuditTrail(service, publisher).record(action=action, outcome=outcome, user=user, **known)  # type: ignore[arg-type]
