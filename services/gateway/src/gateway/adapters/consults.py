"""The consult service over HTTP, with the user's access token as bearer."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from gateway.errors import ConsultConflict, ConsultNotFound, ConsultRefused, ConsultUnavailable
from gateway.ports import ConsultFile


class HttpConsults:
    """`ConsultService` by httpx; every call has the client's deadline."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def list(self, token: str, box: str, state: str = "") -> list[dict[str, Any]]:
        """See `ConsultService.list`."""
        params = {"box": box} | ({"state": state} if state else {})
        return list(await self._call(token, "GET", "", params=params))

    async def get(self, token: str, consult_id: str) -> dict[str, Any]:
        """See `ConsultService.get`."""
        return dict(await self._call(token, "GET", consult_id))

    async def act(self, token: str, consult_id: str, action: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """See `ConsultService.act`."""
        return dict(await self._call(token, "POST", f"{consult_id}/{action}", json=dict(body)))

    async def reports(
        self, token: str, *, studies: Sequence[Mapping[str, str]] = (), consult_id: str = ""
    ) -> Sequence[dict[str, Any]]:
        """See `ConsultService.reports`."""
        asked = {"studies": [dict(study) for study in studies], "consult_id": consult_id or None}
        return [dict(case) for case in await self._call(token, "POST", "reports/search", json=asked)]

    async def read(self, token: str, path: str, params: Mapping[str, str] | None = None) -> Any:
        """See `ConsultService.read`."""
        return await self._call(token, "GET", path, params=dict(params or {}))

    async def keep(self, token: str, path: str, body: Mapping[str, Any]) -> Any:
        """See `ConsultService.keep`."""
        return await self._call(token, "PUT", path, json=dict(body))

    async def send(self, token: str, path: str, body: Mapping[str, Any]) -> Any:
        """See `ConsultService.send`."""
        return await self._call(token, "POST", path, json=dict(body))

    async def file(self, token: str, path: str) -> ConsultFile:
        """See `ConsultService.file`."""
        request = self._client.build_request("GET", _address(path), headers=_bearer(token))
        try:
            answer = await self._client.send(request, stream=True)
            if not answer.is_success:
                await answer.aread()
        except httpx.HTTPError as error:
            raise ConsultUnavailable("the consult service does not answer") from error
        _raise_unless_good(answer)
        return ConsultFile(answer.headers.get("content-type", "application/octet-stream"), _chunks(answer))

    async def verify(self, code: str) -> dict[str, Any] | None:
        """See `ConsultService.verify`."""
        try:
            return dict(await self._call("", "GET", f"verify/{code}"))
        except ConsultRefused:
            return None

    async def _call(self, token: str, method: str, path: str, **options: Any) -> Any:
        try:
            answer = await self._client.request(method, _address(path), headers=_bearer(token), **options)
        except httpx.HTTPError as error:
            raise ConsultUnavailable("the consult service does not answer") from error
        _raise_unless_good(answer)
        return answer.json() if answer.content else None


async def _chunks(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_bytes():
            yield chunk
    finally:
        await answer.aclose()


def _address(path: str) -> str:
    return f"/consults/{quote(path, safe='/')}" if path else "/consults"


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _raise_unless_good(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    if answer.status_code >= 500:
        raise ConsultUnavailable(f"the consult service answered {answer.status_code}")
    members = _problem(answer)
    detail = str(members.pop("detail", ""))
    kind = {404: ConsultNotFound, 409: ConsultConflict}.get(answer.status_code, ConsultRefused)
    raise kind(answer.status_code, detail, members)


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
