"""Sign-in and sign-out at the OIDC provider (authorization code flow with PKCE)."""

import secrets
from dataclasses import dataclass

from gateway.errors import SignInFailed
from gateway.model import Session
from gateway.ports import IdentityProvider, SessionStore
from gateway.usecases.authenticate import digest
from imaging_common.audit import AuditTrail


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session: the cookie's value, and where the browser wanted to go."""

    cookie: str
    next_path: str


class SignIn:
    """Begins, completes and ends sessions; each act is in the audit record before its answer."""

    def __init__(
        self, sessions: SessionStore, provider: IdentityProvider, audit: AuditTrail, *, lifetime_seconds: float
    ) -> None:
        self._sessions = sessions
        self._provider = provider
        self._audit = audit
        self._lifetime_seconds = lifetime_seconds

    async def begin(self, *, browser: str, next_path: str, language: str) -> str:
        """Where to send the browser; `browser` is the value of the cookie that ties the answer to it."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        await self._sessions.begin_sign_in(
            digest(state), browser=digest(browser), verifier=verifier, nonce=nonce, next_path=next_path
        )
        return await self._provider.sign_in_url(state=state, nonce=nonce, verifier=verifier, language=language)

    async def complete(self, *, browser: str, state: str, code: str) -> SignedIn:
        """Turn the provider's answer into a session.

        Raises
        ------
        SignInFailed
            This browser began no such sign-in, or the provider's tokens do not hold.
        """
        begun = await self._sessions.finish_sign_in(digest(state), browser=digest(browser))
        if begun is None:
            raise SignInFailed("no such sign-in was begun in this browser")
        claims, tokens, expires_at = await self._provider.exchange(
            code, verifier=begun["verifier"], nonce=begun["nonce"]
        )
        cookie = secrets.token_urlsafe(32)
        session = Session(digest(cookie), claims, tokens, expires_at, csrf=secrets.token_urlsafe(32))
        await self._sessions.create(cookie, session, self._lifetime_seconds)
        await self._audit.record(action="sign-in", outcome="success", user=claims.user, hospital=claims.hospital)
        return SignedIn(cookie, begun["next_path"])

    async def refused(self, reason: str) -> None:
        """Record that somebody did not get in; nobody knows who."""
        await self._audit.record(action="sign-in", outcome="denied", user="unknown", reason=reason)

    async def sign_out(self, session: Session) -> str:
        """End the session; the address at which the provider's own session ends too."""
        await self._sessions.end(session.key)
        await self._audit.record(
            action="sign-out", outcome="success", user=session.claims.user, hospital=session.claims.hospital
        )
        return await self._provider.end_session_url()
