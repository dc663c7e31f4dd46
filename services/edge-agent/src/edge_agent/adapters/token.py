"""The agent's access token: OAuth 2.0 client credentials (RFC 6749 §4.4) at the region's OpenID provider."""

import asyncio
import time

import httpx

LEEWAY_SECONDS = 30.0
TIMEOUT = httpx.Timeout(10)


class AccessToken:
    """Fetched when it is first needed, and again before it expires."""

    def __init__(self, issuer: str, client_id: str, client_secret: str) -> None:
        self._issuer = issuer.rstrip("/")
        self._credentials = (client_id, client_secret)
        self._fetching = asyncio.Lock()
        self._token = ""
        self._until = 0.0

    async def get(self) -> str:
        """The token.

        Raises
        ------
        httpx.HTTPError
            The provider is away, or refuses.
        """
        async with self._fetching:
            if time.monotonic() >= self._until:
                await self._fetch()
            return self._token

    def forget(self) -> None:
        """It was refused: fetch another one next time."""
        self._until = 0.0

    async def _fetch(self) -> None:
        client_id, client_secret = self._credentials
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            discovery = await client.get(f"{self._issuer}/.well-known/openid-configuration")
            discovery.raise_for_status()
            answer = await client.post(
                discovery.json()["token_endpoint"],
                data={"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret},
            )
            answer.raise_for_status()
        document = answer.json()
        self._token = str(document["access_token"])
        self._until = time.monotonic() + max(1.0, float(document.get("expires_in", 60)) - LEEWAY_SECONDS)
