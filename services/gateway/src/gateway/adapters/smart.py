"""A registered EHR's SMART server over HTTP: discovery, the code's tokens, the ID token's signature."""

from collections.abc import Mapping
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.errors import LaunchRefused, ProviderUnavailable

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 200_000
SIGNATURES = ["RS256", "ES256", "ES384", "PS256"]


class SmartClient:
    """`SmartServer`; every call has a deadline."""

    def __init__(self, public_url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.redirect_uri = f"{public_url}/smart/callback"
        self._client = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, transport=transport)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def discover(self, iss: str) -> Mapping[str, Any]:
        """See `SmartServer.discover`."""
        metadata = await self._json("GET", f"{iss}/.well-known/smart-configuration")
        if not {"authorization_endpoint", "token_endpoint"} <= metadata.keys():
            raise LaunchRefused(502, "smart-configuration")
        if "S256" not in metadata.get("code_challenge_methods_supported", []):
            raise LaunchRefused(502, "smart-without-pkce")
        return metadata

    async def exchange(
        self, metadata: Mapping[str, Any], *, code: str, verifier: str, client_id: str
    ) -> Mapping[str, Any]:
        """See `SmartServer.exchange`."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "client_id": client_id,
            "code_verifier": verifier,
        }
        return await self._json("POST", str(metadata["token_endpoint"]), form)

    async def identity(
        self, metadata: Mapping[str, Any], token: str, *, iss: str, client_id: str, nonce: str
    ) -> Mapping[str, Any]:
        """See `SmartServer.identity`."""
        issuer = str(metadata.get("issuer") or iss)
        address = metadata.get("jwks_uri")
        if not address:
            address = (await self._json("GET", f"{issuer}/.well-known/openid-configuration")).get("jwks_uri", "")
        keys = await self._json("GET", str(address))
        try:
            decoded = jwt.decode(token, KeySet.import_key_set(keys), algorithms=SIGNATURES)  # type: ignore[arg-type]
            jwt.JWTClaimsRegistry(
                leeway=30,
                iss={"essential": True, "value": issuer},
                aud={"essential": True, "value": client_id},
                exp={"essential": True},
                sub={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise LaunchRefused(403, "smart-id-token") from error
        return decoded.claims

    async def _json(self, method: str, address: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        try:
            answer = await self._client.request(method, address, data=form, headers={"Accept": "application/json"})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderUnavailable("the EHR's SMART server does not answer") from error
        if answer.status_code >= 500:
            raise ProviderUnavailable("the EHR's SMART server does not answer")
        if answer.status_code != 200 or len(answer.content) > MAX_ANSWER_BYTES:
            raise LaunchRefused(403, "smart-server-refused")
        try:
            body = answer.json()
        except ValueError as error:
            raise LaunchRefused(403, "smart-answer") from error
        if not isinstance(body, dict):
            raise LaunchRefused(403, "smart-answer")
        return body
