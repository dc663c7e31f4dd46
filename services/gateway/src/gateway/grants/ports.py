"""What grants need of the world, with the fake beside the port."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from gateway.grants.model import AccessGrant, Kind, LaunchCode
from imaging_common.events import Event

TOPIC = "access-changed"
Taken = Literal["taken", "used", "gone"]


class AccessGrants(Protocol):
    """Grants that are not a case's, and the codes of windows that are about to open; shared by all copies."""

    async def open(self, grant: AccessGrant) -> bool:
        """Keep it and announce it, in one transaction; False: it is known, nothing changes."""
        ...

    async def find(self, grant_id: str) -> AccessGrant | None:
        """One grant, whether it holds or not."""
        ...

    async def held(self, user: str, grant_ids: Sequence[str], now: datetime) -> list[AccessGrant]:
        """What holds now: the user's launches and broken glass, and the grants named."""
        ...

    async def made(self, kind: Kind, by: str, limit: int) -> list[AccessGrant]:
        """What somebody granted, the newest first."""
        ...

    async def end(self, grant_id: str, kind: Kind, made_by: str, now: datetime) -> AccessGrant | None:
        """Take back what `made_by` granted, and announce it, in one transaction; None: there is no such that holds."""
        ...

    async def count_open(self, token: str, now: datetime) -> AccessGrant | None:
        """Count an opening of the share link with this digest; None: it does not hold, or is used up."""
        ...

    async def of_token(self, token: str) -> AccessGrant | None:
        """The share link with this digest, whether it holds or not."""
        ...

    async def keep_code(self, code: LaunchCode) -> None:
        """Keep a code until it has expired."""
        ...

    async def take_code(self, key: str, now: datetime) -> tuple[Taken, LaunchCode | None]:
        """Take a code, atomically: of any number of askers one gets `taken`, the others `used`; too late: `gone`."""
        ...

    async def keep_request(self, browser: str, request: Mapping[str, str], until: datetime) -> None:
        """Keep what one browser wants after it has signed in; the last one counts."""
        ...

    async def take_request(self, browser: str, now: datetime) -> Mapping[str, str] | None:
        """Take it out, once."""
        ...


class SmartServer(Protocol):
    """An EHR's authorization server (SMART App Launch 2.2.0)."""

    redirect_uri: str

    async def discover(self, iss: str) -> Mapping[str, Any]:
        """Its `.well-known/smart-configuration`.

        Raises
        ------
        LaunchRefused, ProviderUnavailable
            It does not offer what is needed; it does not answer.
        """
        ...

    async def exchange(
        self, metadata: Mapping[str, Any], *, code: str, verifier: str, client_id: str
    ) -> Mapping[str, Any]:
        """The token answer, with the launch's context."""
        ...

    async def identity(
        self, metadata: Mapping[str, Any], token: str, *, iss: str, client_id: str, nonce: str
    ) -> Mapping[str, Any]:
        """The ID token's claims, verified."""
        ...


class FakeAccessGrants:
    """`AccessGrants` in memory; `announced` is what the outbox would hold."""

    def __init__(self) -> None:
        self.grants: dict[str, AccessGrant] = {}
        self.codes: dict[str, LaunchCode] = {}
        self.used: set[str] = set()
        self.requests: dict[str, tuple[Mapping[str, str], datetime]] = {}
        self.announced: list[Event] = []

    async def open(self, grant: AccessGrant) -> bool:
        """See `AccessGrants.open`."""
        if grant.grant_id in self.grants:
            return False
        self.grants[grant.grant_id] = grant
        self.announced.append(grant.granted())
        return True

    async def find(self, grant_id: str) -> AccessGrant | None:
        """See `AccessGrants.find`."""
        return self.grants.get(grant_id)

    async def held(self, user: str, grant_ids: Sequence[str], now: datetime) -> list[AccessGrant]:
        """See `AccessGrants.held`."""
        mine = [g for g in self.grants.values() if g.grant_id in grant_ids or (user and g.user == user)]
        return [grant for grant in mine if grant.holds(now)]

    async def made(self, kind: Kind, by: str, limit: int) -> list[AccessGrant]:
        """See `AccessGrants.made`."""
        found = [g for g in self.grants.values() if (g.kind, g.granted_by) == (kind, by)]
        return sorted(found, key=lambda grant: grant.at, reverse=True)[:limit]

    async def end(self, grant_id: str, kind: Kind, made_by: str, now: datetime) -> AccessGrant | None:
        """See `AccessGrants.end`."""
        known = self.grants.get(grant_id)
        if known is None or (known.kind, known.granted_by) != (kind, made_by) or not known.holds(now):
            return None
        self.grants[grant_id] = ended = known.model_copy(update={"ended_at": now})
        self.announced.append(ended.ended(made_by, now))
        return ended

    async def count_open(self, token: str, now: datetime) -> AccessGrant | None:
        """See `AccessGrants.count_open`."""
        known = await self.of_token(token)
        if known is None or known.state(now) != "open":
            return None
        opened = known.model_copy(update={"opens": known.opens + 1, "last_opened": now})
        self.grants[known.grant_id] = opened
        return opened

    async def of_token(self, token: str) -> AccessGrant | None:
        """See `AccessGrants.of_token`."""
        return next((grant for grant in self.grants.values() if grant.token == token), None) if token else None

    async def keep_code(self, code: LaunchCode) -> None:
        """See `AccessGrants.keep_code`."""
        self.codes[code.key] = code

    async def take_code(self, key: str, now: datetime) -> tuple[Taken, LaunchCode | None]:
        """See `AccessGrants.take_code`."""
        code = self.codes.get(key)
        if code is not None and key in self.used:
            return "used", code
        if code is None or now >= code.expires_at:
            return "gone", code
        self.used.add(key)
        return "taken", code

    async def keep_request(self, browser: str, request: Mapping[str, str], until: datetime) -> None:
        """See `AccessGrants.keep_request`."""
        self.requests[browser] = (dict(request), until)

    async def take_request(self, browser: str, now: datetime) -> Mapping[str, str] | None:
        """See `AccessGrants.take_request`."""
        request, until = self.requests.pop(browser, ({}, now))
        return request if request and now < until else None
