"""The audit service over HTTP, with the auditor's own access token as bearer."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from gateway.errors import AuditUnavailable

Params = Mapping[str, str | Sequence[str]]


class HttpAuditRecords:
    """Searches and exports; every call has a deadline, an export one for each silence."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def search(self, token: str, params: Params) -> tuple[list[dict[str, Any]], str]:
        """One page of links, the newest first, and the place after which the next begins; empty: no more.

        Raises
        ------
        AuditUnavailable
            The audit service does not answer, or refuses the token.
        """
        answer = await self._get("/records", token, params)
        following = answer.links.get("next", {}).get("url", "")
        return list(answer.json()), (parse_qs(urlsplit(following).query).get("after") or [""])[0]

    async def summary(self, token: str, params: Params) -> tuple[list[dict[str, Any]], bool]:
        """Who looked, of the records that match, by hospital; and if there are more people.

        Raises
        ------
        AuditUnavailable
            See `search`.
        """
        answer = (await self._get("/records/summary", token, params)).json()
        return list(answer["people"]), bool(answer["more"])

    async def _get(self, path: str, token: str, params: Params) -> httpx.Response:
        try:
            answer = await self._client.get(path, params=_flat(params), headers=_bearer(token))
        except httpx.HTTPError as error:
            raise AuditUnavailable("the audit service does not answer") from error
        if not answer.is_success:
            raise AuditUnavailable(f"the audit service answered {answer.status_code}")
        return answer

    async def export(self, token: str, params: Params, form: str) -> AsyncIterator[bytes]:
        """All records that match: the service has answered when this returns, the bytes stream after that.

        Raises
        ------
        AuditUnavailable
            See `search`.
        """
        request = self._client.build_request(
            "GET", "/records/export", params=[*_flat(params), ("format", form)], headers=_bearer(token)
        )
        try:
            answer = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise AuditUnavailable("the audit service does not answer") from error
        if not answer.is_success:
            await answer.aclose()
            raise AuditUnavailable(f"the audit service answered {answer.status_code}")

        async def body() -> AsyncIterator[bytes]:
            try:
                async with aclosing(answer.aiter_bytes()) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        yield chunk
            finally:
                await answer.aclose()

        return body()


def _flat(params: Params) -> list[tuple[str, str | int | float | bool | None]]:
    return [(name, one) for name, value in params.items() for one in ([value] if isinstance(value, str) else value)]


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
