"""Keycloak's admin REST API for one client: its token, deadlines, and errors of this region.

Addresses are below `/admin/realms/<realm>`; a token is fetched by client credentials and again before it ends.
"""

import asyncio
import time
from typing import Any

import httpx

from imaging_common.people.errors import DirectoryUnavailable

DEADLINE_SECONDS = 5.0
TOKEN_MARGIN_SECONDS = 15.0


class KeycloakAdmin:
    """Asks the admin API as a client's service account."""

    def __init__(self, issuer: str, client_id: str, secret: str, client: httpx.AsyncClient | None = None) -> None:
        self._issuer = issuer.rstrip("/")
        self._base = self._issuer.replace("/realms/", "/admin/realms/")
        self._credentials = (client_id, secret)
        self._client = client or httpx.AsyncClient(timeout=DEADLINE_SECONDS)
        self._token, self._ends = "", 0.0
        self._gate = asyncio.Lock()

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def get(self, path: str, **params: str | int) -> Any:
        """What stands there as JSON; None: there is no such thing (404)."""
        answer = await self.ask("GET", path, params=params)
        if answer.status_code == 404:
            return None
        self.checked(answer)
        try:
            return answer.json()
        except ValueError as error:
            raise DirectoryUnavailable("the identity provider's answer is no JSON") from error

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Any request; the caller looks at the status.

        Raises
        ------
        DirectoryUnavailable
            No answer in time, or the provider does not let this client in.
        """
        try:
            answer = await self._ask(method, path, await self._bearer(), options)
            if answer.status_code == 401:
                self._ends = 0.0
                answer = await self._ask(method, path, await self._bearer(), options)
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise DirectoryUnavailable(f"the identity provider does not answer: {type(error).__name__}") from error
        return answer

    @staticmethod
    def checked(answer: httpx.Response) -> httpx.Response:
        """The answer, when it is a good one (2xx)."""
        if not answer.is_success:
            raise DirectoryUnavailable(f"the identity provider answers {answer.status_code}")
        return answer

    async def _ask(self, method: str, path: str, token: str, options: dict[str, Any]) -> httpx.Response:
        return await self._client.request(
            method,
            f"{self._base}{path}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=DEADLINE_SECONDS,
            **options,
        )

    async def _bearer(self) -> str:
        async with self._gate:
            if time.monotonic() >= self._ends:
                answer = await self._client.post(
                    f"{self._issuer}/protocol/openid-connect/token",
                    data={"grant_type": "client_credentials"},
                    auth=self._credentials,
                    timeout=DEADLINE_SECONDS,
                )
                answer.raise_for_status()
                said = answer.json()
                self._token = str(said["access_token"])
                self._ends = time.monotonic() + float(said.get("expires_in", 60)) - TOKEN_MARGIN_SECONDS
            return self._token
