"""Sign-in and sign-out at the OIDC provider (authorization code flow with PKCE)."""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import SignInFailed
from gateway.model import Session, Tokens
from gateway.ports import IdentityProvider, SessionStore
from gateway.usecases.authenticate import digest, named
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session: the cookie's value, and where the browser wanted to go."""

    cookie: str
    next_path: str


@dataclass(frozen=True, slots=True)
class Signing:
    """What somebody is about to sign: an action on a case, at one version of it."""

    consult: str
    action: str
    version: int

    @property
    def page(self) -> str:
        """Where the browser comes back to."""
        return f"/portal/consults/{self.consult}"


@dataclass(frozen=True, slots=True)
class Proven:
    """The provider's answer to somebody who is to sign."""

    signing: Signing
    session: Session | None
    """With the new tokens; None: somebody else signed in, or the session has ended. Nothing is to be signed."""


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

    async def begin_signing(self, session: Session, signing: Signing, *, browser: str, language: str) -> str:
        """Where the browser proves anew who is before it; what is to be signed stays here."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        kept = {"session": session.key, "consult": signing.consult, "action": signing.action}
        await self._sessions.begin_sign_in(
            digest(state),
            browser=digest(browser),
            verifier=verifier,
            nonce=nonce,
            next_path=signing.page,
            signing={**kept, "version": str(signing.version)},
        )
        return await self._provider.sign_in_url(
            state=state, nonce=nonce, verifier=verifier, language=language, again=True
        )

    async def cancelled(self, *, browser: str, state: str) -> Signing | None:
        """What was to be signed when the person turned back at the provider; None: it was no signing."""
        begun = await self._sessions.finish_sign_in(digest(state), browser=digest(browser))
        return _signing_of(begun["signing"]) if begun is not None and begun.get("signing") else None

    async def complete(self, *, browser: str, state: str, code: str, cookie: str = "") -> SignedIn | Proven:
        """Turn the provider's answer into a session, or into the proof for what its person is to sign.

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
        if begun.get("signing"):
            return await self._prove(begun["signing"], cookie, (claims, tokens, expires_at))
        cookie = secrets.token_urlsafe(32)
        sid, sub = provider_ids(tokens.id)
        session = Session(digest(cookie), claims, tokens, expires_at, csrf=secrets.token_urlsafe(32), sid=sid, sub=sub)
        await self._sessions.create(cookie, session, self._lifetime_seconds)
        await self._audit.record(action="sign-in", outcome="success", **who(named(session)))
        return SignedIn(cookie, begun["next_path"])

    async def _prove(self, kept: Mapping[str, str], cookie: str, answer: tuple[Claims, Tokens, float]) -> Proven:
        """The session goes on with the new tokens, if they are the same person's and it is this browser's."""
        claims = answer[0]
        session = await self._sessions.find(kept["session"]) if digest(cookie) == kept["session"] else None
        same = session is not None and (claims.user, claims.hospital) == (session.claims.user, session.claims.hospital)
        if session is None or not same:
            await self._audit.record(
                action="sign-in", outcome="denied", reason="another-person-at-signing", **who(claims)
            )
            return Proven(_signing_of(kept), None)
        await self._sessions.renew(session.key, *answer)
        session.claims, session.tokens, session.access_expires_at = answer
        await self._audit.record(action="sign-in", outcome="success", reason="signing", **who(named(session)))
        return Proven(_signing_of(kept), session)

    async def refused(self, reason: str) -> None:
        """Record that somebody did not get in; nobody knows who."""
        await self._audit.record(action="sign-in", outcome="denied", user="unknown", reason=reason)

    async def ended_by_provider(self, logout_token: str) -> None:
        """End what the provider says has ended (back-channel logout); the record has each of the sessions.

        Raises
        ------
        SignInFailed
            The logout token does not hold.
        """
        for ended in await self._sessions.end_of_provider(await self._provider.logout_of(logout_token)):
            await self._audit.record(action="sign-out", outcome="success", reason="by-provider", **who(ended))

    async def sign_out(self, session: Session) -> str:
        """End the session; the address at which the provider's own session ends too."""
        await self._sessions.end(session.key)
        await self._audit.record(action="sign-out", outcome="success", **who(named(session)))
        return await self._provider.end_session_url()


def _signing_of(kept: Mapping[str, str]) -> Signing:
    return Signing(kept["consult"], kept["action"], int(kept["version"]))


def provider_ids(id_token: str) -> tuple[str, str]:
    """`sid` and `sub` of an ID token that was verified when it came; empty where it does not say."""
    try:
        payload = id_token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims.get("sid", "")), str(claims.get("sub", ""))
    except (IndexError, ValueError, AttributeError):
        return "", ""
