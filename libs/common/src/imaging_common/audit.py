"""Writes the audit record (PS3.15 A.5): who did what to which study, allowed or not; durable before it is shown."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Protocol, Required, TypedDict, Unpack
from uuid import uuid4

from imaging_common.events import AuditRecorded
from imaging_common.events.people import AuditAction, AuditOutcome
from imaging_common.messaging.ports import EventPublisher

TOPIC = "audit-recorded"
Action = AuditAction
Outcome = AuditOutcome


class Act(TypedDict, total=False):
    """What a record tells of an act; the meaning of each is at `AuditRecorded`."""

    action: Required[Action]
    outcome: Required[Outcome]
    user: Required[str]
    reason: str
    hospital: str
    study_uid: str | None
    holder: str | None
    consult_id: str | None
    count: int
    audit_id: str | None
    roles: Iterable[str]
    session: str
    resident_id: str | None
    grant_id: str | None
    purpose: str
    source: str


class Somebody(Protocol):
    """A `Subject` of the access rule, a token's `Claims`, or whatever else tells who somebody is."""

    @property
    def user(self) -> str: ...
    @property
    def hospital(self) -> str: ...
    @property
    def roles(self) -> Iterable[str]: ...
    @property
    def session(self) -> str: ...


class Who(TypedDict):
    """The part of an act that tells who did it."""

    user: str
    hospital: str
    roles: Iterable[str]
    session: str


def who(one: Somebody) -> Who:
    """Who did it: for the fields of an act."""
    return {"user": one.user, "hospital": one.hospital, "roles": one.roles, "session": one.session}


class AuditTrail:
    """One service's side of the audit record."""

    def __init__(self, service: str, publisher: EventPublisher) -> None:
        self._service = service
        self._publisher = publisher

    def event(self, **act: Unpack[Act]) -> AuditRecorded:
        """The record, for who writes it to the outbox with the act itself (topic `TOPIC`, key its `service`)."""
        told = {**act, "audit_id": act.get("audit_id") or uuid4().hex, "roles": sorted(act.get("roles", ()))}
        return AuditRecorded(service=self._service, at=datetime.now(UTC), **told)

    async def record(self, **act: Unpack[Act]) -> None:
        """Return once the record is durable; a repeated act passes the same `audit_id`.

        Raises
        ------
        PublishFailed
            The record is not durable: the act must not be shown to anybody.
        """
        event = self.event(**act)
        await self._publisher.publish(TOPIC, event, self._service, event_id=event.audit_id)
