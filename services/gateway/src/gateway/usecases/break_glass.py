"""Break-glass: somebody opens one resident's record in an emergency, with a reason, for an hour at most.

The act is in the audit record before anything is open; the privacy officers are told by the event.
"""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from gateway.grants.model import AccessGrant
from gateway.grants.ports import AccessGrants
from imaging_common.access import Subject
from imaging_common.audit import AuditTrail, who
from imaging_common.index.read import StudyIndex

LISTED = 20


class BreakGlass:
    """Breaks the glass, lists what one broke, and closes it again."""

    def __init__(self, grants: AccessGrants, index: StudyIndex, audit: AuditTrail) -> None:
        self._grants = grants
        self._index = index
        self._audit = audit

    async def break_glass(self, subject: Subject, resident: str, reason: str, minutes: int) -> AccessGrant | None:
        """Open a resident's studies at every holder; None: no study is known of such a resident, nothing is open."""
        found = await self._index.resident(resident)
        known = await self._index.recent({"resident_id": {"$in": list(found.ids)}}, limit=1)
        now = datetime.now(UTC)
        grant = AccessGrant(
            grant_id=uuid4().hex,
            kind="break-glass",
            user=subject.user,
            hospital=subject.hospital,
            granted_by=subject.user,
            resident_id=found.id,
            purpose=reason,
            at=now,
            until=now + timedelta(minutes=minutes),
        )
        await self._record(subject, grant, "" if known else "no-such-resident")
        if not known:
            return None
        await self._grants.open(grant)
        return grant

    async def refused(self, subject: Subject, resident: str, reason: str) -> None:
        """Record that somebody may not break the glass."""
        await self._audit.record(
            action="break-glass",
            outcome="denied",
            reason=reason,
            user=subject.user,
            hospital=subject.hospital,
            roles=subject.roles,
            session=subject.session,
            resident_id=resident,
        )

    async def open_now(self, user: str) -> list[AccessGrant]:
        """What somebody broke and is open now, the newest first."""
        now = datetime.now(UTC)
        return [grant for grant in await self._grants.made("break-glass", user, LISTED) if grant.holds(now)]

    async def end(self, subject: Subject, grant_id: str) -> bool:
        """Close it before its time; False: it is not open any more, or not theirs."""
        ended = await self._grants.end(grant_id, "break-glass", subject.user, datetime.now(UTC))
        if ended is not None:
            await self._audit.record(
                action="revoke",
                outcome="success",
                **who(subject),
                resident_id=ended.resident_id,
                grant_id=grant_id,
                reason="break-glass",
            )
        return ended is not None

    async def _record(self, subject: Subject, grant: AccessGrant, failed: str) -> None:
        await self._audit.record(
            action="break-glass",
            outcome="failed" if failed else "success",
            reason=failed,
            **who(subject),
            resident_id=grant.resident_id,
            grant_id=grant.grant_id,
            purpose=grant.purpose,
        )
