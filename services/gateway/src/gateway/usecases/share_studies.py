"""Share links for a resident or an outside doctor: made, opened and taken back; each act in the audit record first."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import uuid4

from gateway.errors import LaunchRefused
from gateway.grants.model import MAX_SHARE_DAYS, MAX_STUDIES, AccessGrant
from gateway.grants.ports import AccessGrants
from gateway.model import Session, study_ref
from gateway.ports import SessionStore
from gateway.usecases.authenticate import digest
from gateway.usecases.open_window import SHARE_CLAIMS, Windows
from imaging_common.access import Action, GrantKind, StudyRef, Subject, decide
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims
from imaging_common.index.model import StudyDocument
from imaging_common.index.read import StudyIndex

LISTED = 50
MAX_OPENS = 1000
MAX_PAIRS = 200


SHAREABLE = frozenset({"own-hospital", "launch"})
"""By what right one must see a study to pass it on; a case, broken glass or another's link is no such right."""


@dataclass(frozen=True, slots=True)
class ShareAsked:
    """What the form says: studies, or every study of the resident they belong to."""

    studies: Sequence[StudyDocument]
    whole: bool
    days: int
    max_opens: int | None
    note: str

    def problem(self) -> str:
        """The key of what is wrong with it; empty: nothing."""
        if not 0 < len(self.studies) <= MAX_STUDIES:
            return "shares.bad.studies"
        residents = {study.resident_id for study in self.studies}
        if self.whole and (len(residents) != 1 or not self.studies[0].resident_id):
            return "shares.bad.resident"
        if not 1 <= self.days <= MAX_SHARE_DAYS:
            return "shares.bad.days"
        if self.max_opens is not None and not 1 <= self.max_opens <= MAX_OPENS:
            return "shares.bad.opens"
        return "" if self.note else "shares.bad.note"


def may_share(subject: Subject, study: StudyDocument) -> bool:
    """Whether somebody may pass a study on."""
    return decide(subject, Action.VIEW, study_ref(study)).reason in SHAREABLE


@dataclass(frozen=True, slots=True)
class Opened:
    """A share link that was opened: the window's cookie (None: it joined the portal session), and what it shows."""

    grant: AccessGrant
    cookie: str | None
    studies: tuple[str, ...]


class Shares:
    """Share links; the secret is in the link alone."""

    def __init__(
        self, grants: AccessGrants, sessions: SessionStore, index: StudyIndex, windows: Windows, audit: AuditTrail
    ) -> None:
        self._grants = grants
        self._index = index
        self._sessions = sessions
        self._windows = windows
        self._audit = audit

    async def make(self, subject: Subject, asked: ShareAsked) -> tuple[AccessGrant, str]:
        """A link's grant and its secret, which is told this once.

        A whole resident whose record the EHR opened to the maker is shared with what is yet to come; of another
        resident those studies that the maker may pass on now.
        """
        now = datetime.now(UTC)
        secret = secrets.token_urlsafe(32)
        resident, refs = await self._opened_by(subject, asked)
        grant = AccessGrant(
            grant_id=uuid4().hex,
            kind="share-link",
            granted_by=subject.user,
            resident_id=resident,
            studies=refs,
            purpose="share-link",
            at=now,
            until=now + timedelta(days=asked.days),
            token=digest(secret),
            note=asked.note,
            max_opens=asked.max_opens,
        )
        await self._record("share", grant, subject, reason="created")
        await self._grants.open(grant)
        return grant, secret

    async def listed(self, user: str) -> list[AccessGrant]:
        """Somebody's links, the newest first."""
        return await self._grants.made("share-link", user, LISTED)

    async def revoke(self, subject: Subject, grant_id: str) -> bool:
        """Take a link back, and end its windows; False: there is no such link that holds."""
        known = await self._grants.find(grant_id)
        if known is None or known.granted_by != subject.user or known.kind != "share-link":
            return False
        await self._record("revoke", known, subject, reason="share-link")
        ended = await self._grants.end(grant_id, "share-link", subject.user, datetime.now(UTC))
        await self._sessions.end_windows(grant_id)
        return ended is not None

    async def enter(self, secret: str, present: Session | None) -> Opened:
        """Open a link.

        Raises
        ------
        LaunchRefused
            410: taken back, expired or used up; 404: no such link.
        """
        now = datetime.now(UTC)
        grant = await self._grants.count_open(digest(secret), now)
        if grant is None:
            known = await self._grants.of_token(digest(secret))
            reason = f"share-{known.state(now)}" if known else "no-such-share"
            await self._audit.record(
                action="share",
                outcome="denied",
                user="unknown",
                roles=[*SHARE_CLAIMS],
                reason=reason,
                grant_id=known.grant_id if known else None,
            )
            raise LaunchRefused(410 if known else 404, reason)
        user = present.claims.user if present else f"share-{grant.grant_id[:8]}"
        await self._audit.record(
            action="share",
            outcome="success",
            user=user,
            roles=[*SHARE_CLAIMS],
            reason="opened",
            resident_id=grant.resident_id,
            grant_id=grant.grant_id,
            count=len(grant.studies) or 1,
        )
        cookie = None
        if present is None:
            cookie = await self._windows.session(grant, "share", Claims(user, "", SHARE_CLAIMS))
        else:
            await self._sessions.join(present.key, grant.grant_id)
        return Opened(grant, cookie, await self._windows.shown(grant))

    async def _opened_by(self, subject: Subject, asked: ShareAsked) -> tuple[str | None, list[StudyRef]]:
        """The resident, or the studies, that a link opens."""
        resident_id = asked.studies[0].resident_id
        if not asked.whole or resident_id is None:
            return None, [study_ref(study) for study in asked.studies]
        resident = await self._index.resident(resident_id)
        if any(grant.kind == GrantKind.LAUNCH and resident_id in grant.residents for grant in subject.grants):
            return resident.id, []
        every = await self._index.recent({"resident_id": {"$in": list(resident.ids)}}, limit=MAX_PAIRS)
        return None, [study_ref(study) for study in every if may_share(subject, study)]

    async def _record(
        self, action: Literal["share", "revoke"], grant: AccessGrant, subject: Subject, *, reason: str
    ) -> None:
        first = grant.studies[0] if grant.studies else None
        await self._audit.record(
            action=action,
            outcome="success",
            **who(subject),
            study_uid=first.study_uid if first else None,
            holder=first.holder if first else None,
            resident_id=grant.resident_id,
            count=len(grant.studies) or 1,
            grant_id=grant.grant_id,
            reason=reason,
        )
