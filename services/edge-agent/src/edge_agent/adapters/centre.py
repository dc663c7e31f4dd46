"""The centre's STOW-RS door (PS3.18 §10.5), with a client-credentials token (RFC 6749 §4.4)."""

import time
from collections.abc import AsyncIterator
from uuid import uuid4

import anyio
import httpx

from edge_agent.errors import CentreUnavailable
from edge_agent.model import SpooledInstance
from edge_agent.settings import Settings
from imaging_common.telemetry import current_traceparent

CHUNK = 1024 * 1024
TOKEN_LEEWAY_SECONDS = 30


class StowCentre:
    """`Centre` over HTTP."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(30, read=180))
        self._token = ""
        self._token_until = 0.0

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def store(self, study_uid: str, batch: list[SpooledInstance]) -> dict[str, str]:
        """See `ports.Centre.store`."""
        boundary = uuid4().hex
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
        }
        if traceparent := current_traceparent():
            headers["traceparent"] = traceparent
        try:
            headers["Authorization"] = f"Bearer {await self._access_token()}"
            answer = await self._client.post(
                f"{self._settings.ingest_url}/studies/{study_uid}", headers=headers, content=_body(batch, boundary)
            )
        except (httpx.HTTPError, OSError) as error:
            raise CentreUnavailable(f"the batch could not be sent: {type(error).__name__}") from error
        if answer.status_code == 401:
            self._token_until = 0.0
        if answer.status_code not in (200, 202, 409):
            raise CentreUnavailable(f"the centre answered {answer.status_code} to a batch")
        return refused_instances(answer.json(), [instance.sop_instance_uid for instance in batch])

    async def _access_token(self) -> str:
        if time.monotonic() > self._token_until:
            answer = await self._client.post(
                f"{self._settings.oidc_issuer}/protocol/openid-connect/token",
                data={"grant_type": "client_credentials"},
                auth=(self._settings.oidc_client_id, self._settings.oidc_client_secret.get_secret_value()),
            )
            answer.raise_for_status()
            token = answer.json()
            self._token = token["access_token"]
            self._token_until = time.monotonic() + token["expires_in"] - TOKEN_LEEWAY_SECONDS
        return self._token


def refused_instances(
    document: dict[str, dict[str, list[dict[str, dict[str, list[object]]]]]], sent: list[str]
) -> dict[str, str]:
    """The refused instances and their Failure Reason (0008,1197) of a store response (PS3.18 §10.5.3).

    An instance the answer does not mention was not stored either: the batch counts as not sent.
    """
    failed = {
        str(item["00081155"]["Value"][0]): str(item.get("00081197", {}).get("Value", ["unknown"])[0])
        for item in document.get("00081198", {}).get("Value", [])
    }
    stored = {str(item["00081155"]["Value"][0]) for item in document.get("00081199", {}).get("Value", [])}
    if missing := set(sent) - stored - failed.keys():
        raise CentreUnavailable(f"the centre's answer does not mention {len(missing)} instances")
    return failed


async def _body(batch: list[SpooledInstance], boundary: str) -> AsyncIterator[bytes]:
    for instance in batch:
        yield f"--{boundary}\r\nContent-Type: application/dicom\r\nContent-Length: {instance.length}\r\n\r\n".encode()
        async with await anyio.open_file(instance.path, "rb") as file:
            while chunk := await file.read(CHUNK):
                yield chunk
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()
