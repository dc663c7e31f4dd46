"""Who sends a request: from the session cookie, or from a bearer token; and the subject of the access rule."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Generic, TypeVar

from gateway.cases import grants_from
from gateway.grants.ports import AccessGrants
from gateway.model import Identity, Session
from gateway.ports import GrantStore, IdentityProvider, SessionStore
from imaging_common.access import Grant, Subject
from imaging_common.auth import Claims, InvalidToken, TokenVerifier, session_name
from imaging_common.index.read import StudyIndex

FRESH_SECONDS = 1.0
"""How long a copy of the gateway may still believe what it read; a sign-out or an ended case takes that long."""
MAX_REMEMBERED = 4096
RENEW_BEFORE_SECONDS = 30.0
V = TypeVar("V")


class Recent(Generic[V]):
    """Remembers answers for `FRESH_SECONDS`; askers for the same thing at the same time share one question."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, asyncio.Task[V]]] = OrderedDict()

    async def get(self, key: str, ask: Callable[[], Awaitable[V]]) -> V:
        """The remembered answer, or a new one."""
        known = self._known.get(key)
        if known is not None and (not known[1].done() or self._good(known)):
            return await asyncio.shield(known[1])

        async def question() -> V:
            return await ask()

        task = asyncio.create_task(question())
        self._known[key] = (self._clock() + FRESH_SECONDS, task)
        self._known.move_to_end(key)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return await asyncio.shield(task)

    def forget(self, key: str) -> None:
        """Ask again next time."""
        self._known.pop(key, None)

    def clear(self) -> None:
        """Ask everything again."""
        self._known.clear()

    def _good(self, known: tuple[float, asyncio.Task[V]]) -> bool:
        until, task = known
        return until > self._clock() and not task.cancelled() and task.exception() is None


def digest(secret: str) -> str:
    """What stands for a secret in the store: whoever reads the store cannot use it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def named(session: Session) -> Claims:
    """A session's claims with the name that the audit record has for the session."""
    return replace(session.claims, session=session_name(session.key))


@dataclass(frozen=True, slots=True)
class Held:
    """A subject with the grants that held when it was read, each with its end: none is believed longer than that."""

    subject: Subject
    ending: tuple[tuple[float, Grant], ...]

    @classmethod
    def of(cls, subject: Subject, ending: tuple[tuple[float, Grant], ...]) -> "Held":
        """All of them."""
        return cls(replace(subject, grants=(*subject.grants, *(grant for _, grant in ending))), ending)

    def at(self, now: float) -> Subject:
        """The subject at this Unix time."""
        ended = {id(grant) for until, grant in self.ending if until <= now}
        if not ended:
            return self.subject
        return replace(self.subject, grants=tuple(g for g in self.subject.grants if id(g) not in ended))


class Authenticator:
    """Answers who somebody is. Nothing is trusted but the session store and signatures."""

    def __init__(
        self,
        sessions: SessionStore,
        provider: IdentityProvider,
        grants: GrantStore,
        verifier: TokenVerifier,
        access_grants: AccessGrants,
        index: StudyIndex,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._access_grants = access_grants
        self._index = index
        self._clock = clock
        self._sessions = sessions
        self._provider = provider
        self._grants = grants
        self._verifier = verifier
        self._identities: Recent[Identity | None] = Recent()
        self._bearers: Recent[Identity | None] = Recent()
        self._subjects: Recent[Held] = Recent()

    async def by_cookie(self, cookie: str) -> Identity | None:
        """The signed-in person, with an access token that holds; None when the session has ended.

        Raises
        ------
        ProviderUnavailable
            The access token has expired and cannot be renewed now.
        """
        key = digest(cookie)
        return await self._identities.get(key, lambda: self._load(key))

    async def by_bearer(self, token: str) -> Identity | None:
        """The owner of an access token (RFC 6750); None when it does not verify."""

        async def verify() -> Identity | None:
            try:
                return Identity(await self._verifier.verify(token))
            except InvalidToken:
                return None

        return await self._bearers.get(digest(token), verify)

    async def subject(self, claims: Claims, session: Session | None = None) -> Subject:
        """The access rule's subject, with the grants that hold now: a window's is its own alone."""
        who = f"{claims.user}|{claims.hospital}|{sorted(claims.roles)}|{session.key if session else claims.session}"
        held = await self._subjects.get(who, lambda: self._held(claims, session))
        return held.at(self._clock())

    async def _held(self, claims: Claims, session: Session | None) -> Held:
        now = datetime.fromtimestamp(self._clock(), UTC)
        name, purpose = (session_name(session.key), session.purpose) if session else (claims.session, "")
        if session is not None and session.kind != "portal":
            user, named, cases = "", [session.grant_id], []
        else:
            user, named = claims.user, list(session.joined) if session else []
            cases = await self._grants.of_person(claims)
        ending: list[tuple[float, Grant]] = []
        for grant in await self._access_grants.held(user, named, now):
            ids = (await self._index.resident(grant.resident_id)).ids if grant.resident_id else ()
            ending += [(grant.until.timestamp(), one) for one in grant.grants(frozenset(ids))]
        subject = Subject(claims.user, claims.hospital, claims.roles, grants_from(cases), name, purpose)
        return Held.of(subject, tuple(ending))

    def forget(self, session: Session) -> None:
        """The session has changed."""
        self._identities.forget(session.key)

    def forget_subjects(self) -> None:
        """A case or a grant opened or closed: whom it concerns must not be answered from memory."""
        self._subjects.clear()
        self._identities.clear()

    async def _load(self, key: str) -> Identity | None:
        session = await self._sessions.find(key)
        if session is None:
            return None
        if session.kind != "portal":
            grant = await self._access_grants.find(session.grant_id)
            if grant is None or not grant.holds(datetime.fromtimestamp(self._clock(), UTC)):
                await self._sessions.end(key)
                return None
            return Identity(named(session), session)
        if session.access_expires_at - time.time() < RENEW_BEFORE_SECONDS:
            renewed = await self._provider.refresh(session.tokens)
            if renewed is None:
                await self._sessions.end(key)
                return None
            session.claims, session.tokens, session.access_expires_at = renewed
            await self._sessions.renew(key, *renewed)
        return Identity(named(session), session)
