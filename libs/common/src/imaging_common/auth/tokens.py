"""Checks a bearer token's signature, issuer, audience and times against the provider's published keys."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

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


class TokenVerifier:
    """Verifies access tokens of one issuer; fetches its keys by OIDC discovery and again when a key id is new."""

    def __init__(self, issuer: str, audience: str, client: httpx.AsyncClient | None = None) -> None:
        self._issuer = issuer
        self._audience = audience
        self._client = client or httpx.AsyncClient(timeout=5.0)
        self._keys: KeySet | None = None
        self._fetched_at = 0.0

    async def verify(self, token: str) -> Claims:
        """Return the token's claims.

        Raises
        ------
        InvalidToken
            Signature, issuer, audience or time does not hold.
        httpx.HTTPError
            The provider's keys cannot be fetched.
        """
        keys = await self._key_set(max_age=KEYS_MAX_AGE_SECONDS)
        try:
            decoded = jwt.decode(token, keys, algorithms=["RS256", "ES256", "PS256"])
        except (JoseError, ValueError):
            keys = await self._key_set(max_age=1)
            try:
                decoded = jwt.decode(token, keys, algorithms=["RS256", "ES256", "PS256"])
            except (JoseError, ValueError) as error:
                raise InvalidToken("the token's signature does not verify") from error
        registry = jwt.JWTClaimsRegistry(
            leeway=CLOCK_LEEWAY_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
        )
        try:
            registry.validate(decoded.claims)
        except JoseError as error:
            raise InvalidToken(f"the token's claims do not hold: {error.error}") from error
        claims = decoded.claims
        return Claims(
            user=str(claims.get("preferred_username") or claims.get("azp") or claims.get("sub", "")),
            hospital=str(claims.get("hospital", "")),
            roles=frozenset(map(str, claims.get("roles", []))),
            name=_display_name(claims),
        )

    async def _key_set(self, max_age: float) -> KeySet:
        if self._keys is None or time.monotonic() - self._fetched_at > max_age:
            discovery = await self._client.get(f"{self._issuer}/.well-known/openid-configuration")
            discovery.raise_for_status()
            keys = await self._client.get(discovery.json()["jwks_uri"])
            keys.raise_for_status()
            self._keys = KeySet.import_key_set(keys.json())
            self._fetched_at = time.monotonic()
        return self._keys


def _display_name(claims: Mapping[str, Any]) -> str:
    """The person's name; in Han the family name comes first and nothing stands between."""
    family, given = str(claims.get("family_name", "")), str(claims.get("given_name", ""))
    if family and given and "\u3400" <= family[0] <= "\u9fff":
        return family + given
    return str(claims.get("name", ""))
