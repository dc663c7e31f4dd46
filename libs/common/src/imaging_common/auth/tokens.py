"""Checks a bearer token's signature, issuer, audience and times against the provider's published keys."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from imaging_common.access import GRANT_ONLY_ROLES
from imaging_common.settings import ServiceSettings

SIGNATURES = ["RS256", "ES256", "PS256"]
"""Nothing else: no `none`, and no HMAC, whose key would be the published one."""
CLOCK_LEEWAY_SECONDS = 30
KEYS_MAX_AGE_SECONDS = 300


class InvalidToken(Exception):
    """The token is missing, malformed, expired, or not meant for this service."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a service uses of a verified token."""

    user: str
    """`preferred_username`, or the client's id for a service account."""
    hospital: str
    roles: frozenset[str]
    name: str = ""
    session: str = field(default="", compare=False)
    """Names the session in the audit record; of no use to sign in. Empty: a program without one."""
    authenticated_at: datetime | None = field(default=None, compare=False)
    """When they proved who they are (`auth_time`, OIDC Core 2), UTC; None: the token does not say."""


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Under which names a provider says who somebody is; a dotted path leads into objects (`realm_access.roles`)."""

    user: str = "preferred_username"
    roles: str = "roles"
    hospital: str = "hospital"


class TokenVerifier:
    """Verifies access tokens of one issuer; fetches its keys by OIDC discovery and again when a key id is new."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        client: httpx.AsyncClient | None = None,
        names: ClaimNames = ClaimNames(),
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._names = names
        self._client = client or httpx.AsyncClient(timeout=5.0)
        self._keys: KeySet | None = None
        self._fetched_at = 0.0

    @classmethod
    def of(cls, settings: ServiceSettings) -> "TokenVerifier":
        """For the provider of a service's settings."""
        names = ClaimNames(settings.oidc_user_claim, settings.oidc_roles_claim, settings.oidc_hospital_claim)
        return cls(settings.oidc_issuer, settings.oidc_audience, names=names)

    async def verify(self, token: str) -> Claims:
        """Return the token's claims.

        Raises
        ------
        InvalidToken
            Signature, issuer, audience or time does not hold, or it claims a role that no token can have.
        httpx.HTTPError
            The provider's keys cannot be fetched.
        """
        return claims_of(await self.decode(token), self._names)

    async def decode(self, token: str, *, expires: bool = True) -> dict[str, Any]:
        """The claims as they stand in the token, once signature, issuer, audience and times hold; raises as `verify`.

        Parameters
        ----------
        expires
            Whether it must say until when it holds; what it says is checked in any case.
        """
        keys = await self._key_set(max_age=KEYS_MAX_AGE_SECONDS)
        try:
            decoded = jwt.decode(token, keys, algorithms=SIGNATURES)
        except (JoseError, ValueError):
            keys = await self._key_set(max_age=1)
            try:
                decoded = jwt.decode(token, keys, algorithms=SIGNATURES)
            except (JoseError, ValueError) as error:
                raise InvalidToken("the token's signature does not verify") from error
        registry = jwt.JWTClaimsRegistry(
            leeway=CLOCK_LEEWAY_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": expires},
        )
        try:
            registry.validate(decoded.claims)
        except JoseError as error:
            raise InvalidToken(f"the token's claims do not hold: {error.error}") from error
        return dict(decoded.claims)

    async def _key_set(self, max_age: float) -> KeySet:
        if self._keys is None or time.monotonic() - self._fetched_at > max_age:
            discovery = await self._client.get(f"{self._issuer}/.well-known/openid-configuration")
            discovery.raise_for_status()
            keys = await self._client.get(discovery.json()["jwks_uri"])
            keys.raise_for_status()
            self._keys = KeySet.import_key_set(keys.json())
            self._fetched_at = time.monotonic()
        return self._keys


def claims_of(claims: Mapping[str, Any], names: ClaimNames) -> Claims:
    """What this region uses of a verified token.

    Raises
    ------
    InvalidToken
        It claims a role that this portal alone gives.
    """
    said = _at(claims, names.roles)
    roles = frozenset(said.split() if isinstance(said, str) else map(str, said) if isinstance(said, list) else ())
    if roles & GRANT_ONLY_ROLES:
        raise InvalidToken("the token claims a role that no provider gives")
    return Claims(
        user=_text(_at(claims, names.user)) or _text(claims.get("azp") or claims.get("client_id") or claims.get("sub")),
        hospital=_text(_at(claims, names.hospital)),
        roles=roles,
        name=_display_name(claims),
        session=session_name(_text(claims.get("sid"))),
        authenticated_at=_time(claims.get("auth_time")),
    )


def session_name(secret: str) -> str:
    """What stands for a session in the audit record: whoever reads it cannot use the session; of nothing nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16] if secret else ""


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of that very name (it may be an address), else what the dotted path leads to."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _time(value: Any) -> datetime | None:
    """A NumericDate (RFC 7519 section 2); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _text(value: Any) -> str:
    """A claim as text; of a list with one entry (groups, attributes) that entry, of a longer one nothing."""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else ""
    return str(value) if isinstance(value, str | int) else ""


def _display_name(claims: Mapping[str, Any]) -> str:
    """The person's name; in Han the family name comes first and nothing stands between."""
    family, given = str(claims.get("family_name", "")), str(claims.get("given_name", ""))
    if family and given and "\u3400" <= family[0] <= "\u9fff":
        return family + given
    return str(claims.get("name", ""))
