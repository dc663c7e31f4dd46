"""The consult service over HTTP, with the user's access token as bearer."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from gateway.errors import ConsultConflict, ConsultNotFound, ConsultRefused, ConsultUnavailable


class HttpConsults:
    """`ConsultService` by httpx; every call has a deadline."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def list(self, token: str, box: str, state: str = "") -> list[dict[str, Any]]:
        """See `ConsultService.list`."""
        params = {"box": box} | ({"state": state} if state else {})
        answer = await self._call(token, "GET", "/consults", params=params)
        return list(answer["consults"] if isinstance(answer, dict) else answer)

    async def get(self, token: str, consult_id: str) -> dict[str, Any]:
        """See `ConsultService.get`."""
        return dict(await self._call(token, "GET", self._path(consult_id)))

    async def submit(self, token: str, application: Mapping[str, Any], once: str) -> dict[str, Any]:
        """See `ConsultService.submit`."""
        more = {"Idempotency-Key": once} if once else {}
        return dict(await self._call(token, "POST", "/consults", more, json=dict(application)))

    async def act(self, token: str, consult_id: str, action: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """See `ConsultService.act`."""
        return dict(await self._call(token, "POST", f"{self._path(consult_id)}/{action}", json=dict(body)))

    async def save_draft(self, token: str, consult_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """See `ConsultService.save_draft`."""
        return dict(await self._call(token, "PUT", f"{self._path(consult_id)}/report", json=dict(body)))

    async def issue(self, token: str, consult_id: str, version: int) -> dict[str, Any]:
        """See `ConsultService.issue`."""
        path = f"{self._path(consult_id)}/report/issue"
        return dict(await self._call(token, "POST", path, json={"version": version}))

    async def reports(
        self, token: str, *, studies: Sequence[Mapping[str, str]] = (), consult_id: str = ""
    ) -> Sequence[dict[str, Any]]:
        """See `ConsultService.reports`."""
        asked = {"studies": [dict(study) for study in studies], "consult_id": consult_id or None}
        return [dict(case) for case in await self._call(token, "POST", "/consults/reports/search", json=asked)]

    @staticmethod
    def _path(consult_id: str) -> str:
        return f"/consults/{quote(consult_id, safe='')}"

    async def _call(
        self, token: str, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Any:
        headers = {"Authorization": f"Bearer {token}", **(headers or {})}
        try:
            answer = await self._client.request(method, path, headers=headers, **options)
        except httpx.HTTPError as error:
            raise ConsultUnavailable("the consult service does not answer") from error
        if answer.is_success:
            return answer.json()
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
