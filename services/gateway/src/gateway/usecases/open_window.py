"""An EHR asks for a window on its resident's images; the browser exchanges the code for a session of its own.

Also how any window begins: one session, one grant, one cookie, each written down before it is given.
"""

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.errors import LaunchRefused
from gateway.grants.model import (
    CODE_SECONDS,
    DEFAULT_MINUTES,
    MAX_MINUTES,
    MAX_STUDIES,
    AccessGrant,
    Ehr,
    LaunchCode,
    ResidentId,
    by_client,
)
from gateway.grants.ports import AccessGrants
from gateway.model import Session, SessionKind, Tokens
from gateway.ports import SessionStore
from gateway.usecases.authenticate import digest, named
from imaging_common.access import LAUNCH_ROLE, SHARE_ROLE, StudyRef
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims
from imaging_common.ids import HospitalId, Uid
from imaging_common.index.read import StudyIndex

NO_TOKENS = Tokens("", "", "")


class LaunchAsked(BaseModel):
    """What an EHR's server asks for: `POST /launches`."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    user: str = Field(min_length=1, max_length=128)
    """Who sits before the EHR, by the id the region's identity provider knows them by, where it knows them."""
    name: str = Field(default="", max_length=128)
    hospital: HospitalId | None = None
    resident: ResidentId | None = None
    studies: list[Uid] = Field(default=[], max_length=MAX_STUDIES)
    """Instead of a resident: these studies, at every holder that has them now."""
    show: list[Uid] = Field(default=[], max_length=MAX_STUDIES)
    """Of a resident: the studies to show first."""
    purpose: str = Field(min_length=1, max_length=200)
    minutes: int = Field(default=DEFAULT_MINUTES, ge=1, le=MAX_MINUTES)

    @model_validator(mode="after")
    def _names_one_thing(self) -> "LaunchAsked":
        if (self.resident is None) == (not self.studies):
            raise ValueError("name a resident or studies, one of the two")
        return self


@dataclass(frozen=True, slots=True)
class Window:
    """A window that has opened: its cookie (None: the person's portal session sees it too), and what it shows."""

    grant: AccessGrant
    cookie: str | None
    studies: tuple[str, ...]
    again: str = ""
    """A second code, for a new tab."""
    ended_portal: bool = False
    """The portal session in this browser was another person's, and has ended."""


class Windows:
    """Launch codes and the sessions they are exchanged for."""

    def __init__(
        self, grants: AccessGrants, sessions: SessionStore, index: StudyIndex, audit: AuditTrail, ehrs: list[Ehr]
    ) -> None:
        self._grants = grants
        self._sessions = sessions
        self._index = index
        self._audit = audit
        self._ehrs = ehrs

    async def ask(self, claims: Claims, asked: LaunchAsked) -> str:
        """A code for a registered EHR; nothing is open before it is exchanged.

        Raises
        ------
        LaunchRefused
            403: no registered EHR; 404: a study that is not there.
        """
        ehr = by_client(self._ehrs, claims.user)
        if ehr is None:
            await self._denied("unregistered-ehr", user=asked.user, source=claims.user)
            raise LaunchRefused(403, "unregistered-ehr")
        now = datetime.now(UTC)
        grant = AccessGrant(
            grant_id=uuid4().hex,
            kind="launch",
            user=asked.user,
            name=asked.name,
            hospital=asked.hospital or "",
            granted_by=ehr.client_id,
            resident_id=asked.resident,
            studies=await self.refs(asked.studies),
            show=asked.studies or asked.show,
            purpose=asked.purpose,
            at=now,
            until=now,
        )
        return await self.code(grant, asked.minutes)

    async def refs(self, study_uids: list[str]) -> list[StudyRef]:
        """The studies at every holder that has them now.

        Raises
        ------
        LaunchRefused
            404: one of them is not there.
        """
        found: list[StudyRef] = []
        for study_uid in dict.fromkeys(study_uids):
            documents = await self._index.holders_of(study_uid)
            if not documents:
                raise LaunchRefused(404, "no-such-study")
            found += [StudyRef(document.study_uid, document.holder) for document in documents]
        return found

    async def code(self, grant: AccessGrant, minutes: int, *, again: bool = False) -> str:
        """A single-use code for a grant."""
        secret = secrets.token_urlsafe(32)
        expires_at = datetime.now(UTC) + timedelta(seconds=CODE_SECONDS)
        kept = LaunchCode(key=digest(secret), grant=grant, minutes=minutes, again=again, expires_at=expires_at)
        await self._grants.keep_code(kept)
        return secret

    async def exchange(self, secret: str, *, origin: str | None, own: str, present: tuple[Session, ...]) -> Window:
        """Turn a code into a window; of any number of exchanges one wins.

        Parameters
        ----------
        origin
            Where the form came from (RFC 6454); None: no browser says.
        own
            The portal's own origin: the new tab's form comes from there.
        present
            The sessions whose cookies came along.

        Raises
        ------
        LaunchRefused
            409: used before; 410: unknown, expired or taken back; 403: posted from a page that is not the EHR's.
        """
        now = datetime.now(UTC)
        outcome, code = await self._grants.take_code(digest(secret), now)
        if outcome != "taken" or code is None:
            reason = "code-replayed" if outcome == "used" else "code-unknown-or-expired"
            await self._denied(reason, grant=code.grant if code else None)
            raise LaunchRefused(409 if outcome == "used" else 410, reason)
        ehr = by_client(self._ehrs, code.grant.granted_by)
        if origin is not None and origin != own and (ehr is None or origin not in ehr.origins):
            await self._denied("foreign-origin", grant=code.grant)
            raise LaunchRefused(403, "foreign-origin")
        if not code.again:
            return await self.begin(code.begun(now), minutes=code.minutes, present=present)
        grant = await self._grants.find(code.grant.grant_id)
        if grant is None or not grant.holds(now):
            await self._denied("launch-ended", grant=code.grant)
            raise LaunchRefused(410, "launch-ended")
        return await self._enter(grant, present, again="")

    async def begin(self, grant: AccessGrant, *, minutes: int, present: tuple[Session, ...]) -> Window:
        """Open a launch's grant, and the window on it."""
        await self._audit.record(
            action="launch",
            outcome="success",
            user=grant.user,
            hospital=grant.hospital,
            roles=[LAUNCH_ROLE],
            resident_id=grant.resident_id,
            study_uid=grant.studies[0].study_uid if grant.studies else None,
            holder=grant.studies[0].holder if grant.studies else None,
            count=len(grant.studies) or 1,
            grant_id=grant.grant_id,
            purpose=grant.purpose,
            source=grant.granted_by,
        )
        await self._grants.open(grant)
        return await self._enter(grant, present, again=await self.code(grant, minutes, again=True))

    async def _enter(self, grant: AccessGrant, present: tuple[Session, ...], again: str) -> Window:
        """The session: the person's own portal session where there is one, else a window of its own."""
        joined = ended = False
        for session in present:
            if session.kind == "portal" and session.claims.user == grant.user:
                joined = True
                continue
            await self._sessions.end(session.key)
            if session.kind == "portal":
                ended = True
                await self._audit.record(
                    action="sign-out",
                    outcome="success",
                    **who(named(session)),
                    reason="launch-of-another-user",
                    grant_id=grant.grant_id,
                )
        cookie = None if joined else await self.session(grant, "launch", Claims(grant.user, "", _LAUNCH, grant.name))
        return Window(grant, cookie, await self.shown(grant), again, ended)

    async def session(self, grant: AccessGrant, kind: SessionKind, claims: Claims) -> str:
        """A window's session, until its grant ends; the cookie's value."""
        cookie = secrets.token_urlsafe(32)
        seconds = (grant.until - datetime.now(UTC)).total_seconds()
        session = Session(
            digest(cookie),
            claims,
            NO_TOKENS,
            time.time() + seconds,
            csrf=secrets.token_urlsafe(32),
            kind=kind,
            grant_id=grant.grant_id,
            purpose=grant.purpose,
        )
        await self._sessions.create(cookie, session, seconds)
        return cookie

    async def shown(self, grant: AccessGrant) -> tuple[str, ...]:
        """The studies the viewer begins with: as asked, else the resident's newest."""
        if grant.show or grant.resident_id is None:
            return tuple(grant.show or dict.fromkeys(study.study_uid for study in grant.studies))
        ids = (await self._index.resident(grant.resident_id)).ids
        newest = await self._index.recent({"resident_id": {"$in": list(ids)}}, limit=1)
        return tuple(document.study_uid for document in newest)

    async def _denied(
        self, reason: str, *, grant: AccessGrant | None = None, user: str = "unknown", source: str = ""
    ) -> None:
        await self._audit.record(
            action="launch",
            outcome="denied",
            user=grant.user if grant else user,
            reason=reason,
            resident_id=grant.resident_id if grant else None,
            grant_id=grant.grant_id if grant else None,
            purpose=grant.purpose if grant else "",
            source=grant.granted_by if grant else source,
        )


_LAUNCH = frozenset({LAUNCH_ROLE})
SHARE_CLAIMS = frozenset({SHARE_ROLE})
