"""Sessions in MongoDB (`gateway.sessions`, `gateway.sign_ins`): the cookie's digest as key, the tokens encrypted."""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from pymongo.asynchronous.database import AsyncDatabase

from gateway.model import EndedSession, ProviderLogout, Session, Tokens
from imaging_common.auth import Claims, session_name
from imaging_common.mongo import ensure_index

SIGN_IN_MINUTES = 10


class MongoSessions:
    """`SessionStore` on MongoDB; TTL indexes remove what has ended."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], secret: str) -> None:
        if len(secret) < 32:
            raise ValueError("GATEWAY_SESSION_SECRET needs at least 32 characters")
        self._sessions = database["sessions"]
        self._sign_ins = database["sign_ins"]
        self._box = Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"sessions:" + secret.encode()).digest()))

    async def prepare(self) -> None:
        """Create the indexes."""
        await ensure_index(self._sessions, "expires_at", expireAfterSeconds=0)
        await ensure_index(self._sessions, "sid", sparse=True)
        await ensure_index(self._sessions, "sub", sparse=True)
        await ensure_index(self._sessions, "grant_id", sparse=True)
        await ensure_index(self._sign_ins, "expires_at", expireAfterSeconds=0)

    async def begin_sign_in(
        self,
        state: str,
        *,
        browser: str,
        verifier: str,
        nonce: str,
        next_path: str,
        signing: Mapping[str, str] | None = None,
    ) -> None:
        """See `SessionStore.begin_sign_in`."""
        await self._sign_ins.insert_one(
            {
                "_id": state,
                "browser": browser,
                "verifier": verifier,
                "nonce": nonce,
                "next_path": next_path,
                **({"signing": dict(signing)} if signing else {}),
                "expires_at": datetime.now(UTC) + timedelta(minutes=SIGN_IN_MINUTES),
            }
        )

    async def finish_sign_in(self, state: str, *, browser: str) -> Mapping[str, Any] | None:
        """See `SessionStore.finish_sign_in`."""
        return await self._sign_ins.find_one_and_delete(
            {"_id": state, "browser": browser, "expires_at": {"$gt": datetime.now(UTC)}}
        )

    async def create(self, cookie: str, session: Session, lifetime_seconds: float) -> None:
        """See `SessionStore.create`."""
        now = datetime.now(UTC)
        await self._sessions.insert_one(
            {
                "_id": session.key,
                "csrf": session.csrf,
                "search": {},
                **({"sid": session.sid} if session.sid else {}),
                **({"sub": session.sub} if session.sub else {}),
                **_window(session),
                "created_at": now,
                "expires_at": now + timedelta(seconds=lifetime_seconds),
                **self._state(session.claims, session.tokens, session.access_expires_at),
            }
        )

    async def find(self, key: str) -> Session | None:
        """See `SessionStore.find`; a session whose tokens another secret encrypted has ended."""
        document = await self._sessions.find_one({"_id": key, "expires_at": {"$gt": datetime.now(UTC)}})
        if document is None:
            return None
        try:
            kept = json.loads(self._box.decrypt(document["tokens"]))
        except InvalidToken:
            return None
        claims = Claims(document["user"], document["hospital"], frozenset(document["roles"]), document["name"])
        return Session(
            key,
            claims,
            Tokens(kept["access"], kept["refresh"], kept["id"]),
            document["access_expires_at"],
            document["csrf"],
            dict(document["search"]),
            kind=document.get("kind", "portal"),
            grant_id=document.get("grant_id", ""),
            purpose=document.get("purpose", ""),
            joined=tuple(document.get("joined", ())),
        )

    async def renew(self, key: str, claims: Claims, tokens: Tokens, access_expires_at: float) -> None:
        """See `SessionStore.renew`."""
        await self._sessions.update_one({"_id": key}, {"$set": self._state(claims, tokens, access_expires_at)})

    async def remember_search(self, key: str, search: Mapping[str, str]) -> None:
        """See `SessionStore.remember_search`."""
        await self._sessions.update_one({"_id": key}, {"$set": {"search": dict(search)}})

    async def end(self, key: str) -> None:
        """See `SessionStore.end`."""
        await self._sessions.delete_one({"_id": key})

    async def join(self, key: str, grant_id: str) -> None:
        """See `SessionStore.join`."""
        await self._sessions.update_one({"_id": key}, {"$addToSet": {"joined": grant_id}})

    async def end_windows(self, grant_id: str) -> int:
        """See `SessionStore.end_windows`."""
        return (await self._sessions.delete_many({"grant_id": grant_id})).deleted_count

    async def end_of_provider(self, logout: ProviderLogout) -> list[EndedSession]:
        """See `SessionStore.end_of_provider`."""
        where = {"sid": logout.sid} if logout.sid else {"sub": logout.sub}
        if logout.sid and logout.sub:
            where["sub"] = logout.sub
        ended = []
        while (gone := await self._sessions.find_one_and_delete(where)) is not None:
            name = session_name(gone["_id"])
            ended.append(EndedSession(gone["user"], gone["hospital"], frozenset(gone["roles"]), name))
        return ended

    def _state(self, claims: Claims, tokens: Tokens, access_expires_at: float) -> dict[str, Any]:
        sealed = json.dumps({"access": tokens.access, "refresh": tokens.refresh, "id": tokens.id})
        return {
            "user": claims.user,
            "hospital": claims.hospital,
            "roles": sorted(claims.roles),
            "name": claims.name,
            "tokens": self._box.encrypt(sealed.encode()),
            "access_expires_at": access_expires_at,
        }


def _window(session: Session) -> dict[str, Any]:
    """What only windows have."""
    if session.kind == "portal":
        return {}
    return {"kind": session.kind, "grant_id": session.grant_id, "purpose": session.purpose}
