"""`ConsultDesk` over HTTP, with the user's access token as bearer; every call has the client's deadline."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from gateway.consult_desk.ports import Json, Params
from gateway.errors import ConsultConflict, ConsultNotFound, ConsultRefused, ConsultUnavailable


class HttpConsultDesk:
    """Over one client of the consult service."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def box(self, token: str, params: Params) -> tuple[list[Json], bool]:
        """See `ConsultDesk.box`."""
        answer = await self._send(token, "GET", "", params=dict(params))
        return list(answer.json()), "next" in answer.links

    async def case(self, token: str, consult_id: str) -> Json:
        """See `ConsultDesk.case`."""
        return dict((await self._send(token, "GET", quote(consult_id, safe=""))).json())

    async def start(self, token: str, application: Mapping[str, Any], once: str) -> Json:
        """See `ConsultDesk.start`."""
        headers = {"Idempotency-Key": once} if once else {}
        answer = await self._send(token, "POST", "", headers, params={"draft": "true"}, json=dict(application))
        return dict(answer.json())

    async def save(self, token: str, consult_id: str, revision: int, application: Mapping[str, Any]) -> Json:
        """See `ConsultDesk.save`."""
        path = f"{quote(consult_id, safe='')}/application"
        body = {"revision": revision, "application": dict(application)}
        return dict((await self._send(token, "PUT", path, json=body)).json())

    async def submit(self, token: str, consult_id: str, version: int) -> Json:
        """See `ConsultDesk.submit`."""
        path = f"{quote(consult_id, safe='')}/submit"
        return dict((await self._send(token, "POST", path, json={"version": version})).json())

    async def attach(self, token: str, consult_id: str, *, kind: str, name: str, media_type: str, body: bytes) -> Json:
        """See `ConsultDesk.attach`."""
        path = f"{quote(consult_id, safe='')}/attachments"
        headers = {"Content-Type": media_type, "X-File-Name": quote(name)}
        return dict((await self._send(token, "POST", path, headers, params={"kind": kind}, content=body)).json())

    async def detach(self, token: str, consult_id: str, file: str) -> None:
        """See `ConsultDesk.detach`."""
        await self._send(token, "DELETE", f"{quote(consult_id, safe='')}/attachments/{quote(file, safe='')}")

    async def read(self, token: str, part: str, params: Params | None = None) -> Any:
        """See `ConsultDesk.read`."""
        return (await self._send(token, "GET", part, params=dict(params or {}))).json()

    async def keep(self, token: str, part: str, body: Mapping[str, Any]) -> Any:
        """See `ConsultDesk.keep`."""
        return (await self._send(token, "PUT", part, json=dict(body))).json()

    async def ask(self, token: str, part: str, body: Mapping[str, Any]) -> Any:
        """See `ConsultDesk.ask`."""
        return (await self._send(token, "POST", part, json=dict(body))).json()

    async def _send(
        self, token: str, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", **(headers or {})}
        address = f"/consults/{path}" if path else "/consults"
        try:
            answer = await self._client.request(method, address, headers=headers, **options)
        except httpx.HTTPError as error:
            raise ConsultUnavailable("the consult service does not answer") from error
        if answer.is_success:
            return answer
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
