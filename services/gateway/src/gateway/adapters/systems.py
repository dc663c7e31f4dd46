"""`Systems`: the notification service over HTTP, with the caller's own token as bearer."""

from collections.abc import Mapping
from typing import Any

import httpx

from gateway.errors import SystemsRefused, SystemsUnavailable


class HttpSystems:
    """Over one client of the notification service, which has the deadline."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(
        self,
        token: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """See `Systems.ask`."""
        try:
            answer = await self._client.request(
                method,
                path,
                json=None if body is None else dict(body),
                params=dict(params or {}),
                headers={"Authorization": f"Bearer {token}"},
            )
        except httpx.HTTPError as error:
            raise SystemsUnavailable("the notification service does not answer") from error
        if answer.is_success:
            return answer.json() if answer.content else None
        if answer.status_code >= 500 and answer.status_code != 503:
            raise SystemsUnavailable(f"the notification service answered {answer.status_code}")
        members = _problem(answer)
        raise SystemsRefused(answer.status_code, str(members.pop("detail", "")), members)


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
