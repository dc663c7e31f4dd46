"""The consult service's own access token: OAuth 2.0 client credentials (RFC 6749 §4.4), renewed before it expires."""

import asyncio
import time

import httpx

from consult.reports.errors import SourceUnavailable

LEEWAY_SECONDS = 30.0


class ServiceToken:
    """Fetched when it is first needed, and again before it expires."""

    def __init__(self, client: httpx.AsyncClient, issuer: str, client_id: str, secret: str) -> None:
        self._client = client
        self._issuer = issuer.rstrip("/")
        self._credentials = (client_id, secret)
        self._fetching = asyncio.Lock()
        self._token, self._until = "", 0.0

    async def get(self) -> str:
        """The token; `SourceUnavailable` when the provider gives none."""
        async with self._fetching:
            if time.monotonic() >= self._until:
                try:
                    await self._fetch()
                except (httpx.HTTPError, KeyError, ValueError) as error:
                    raise SourceUnavailable("the provider gives the consult service no token") from error
            return self._token

    def forget(self) -> None:
        """It was refused: fetch another one next time."""
        self._until = 0.0

    async def _fetch(self) -> None:
        discovery = await self._client.get(f"{self._issuer}/.well-known/openid-configuration")
        discovery.raise_for_status()
        answer = await self._client.post(
            discovery.json()["token_endpoint"], data={"grant_type": "client_credentials"}, auth=self._credentials
        )
        answer.raise_for_status()
        document = answer.json()
        self._token = str(document["access_token"])
        self._until = time.monotonic() + max(1.0, float(document.get("expires_in", 60)) - LEEWAY_SECONDS)
