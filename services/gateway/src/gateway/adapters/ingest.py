"""The region's ingest by STOW-RS (PS3.18 §10.5), with the portal's own service account as bearer."""

import ssl
import time
from asyncio import Lock
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx

from gateway.errors import IngestRefused, IngestUnavailable, ProviderUnavailable

ANSWER = "application/dicom+json"
ON_BEHALF_OF = "X-On-Behalf-Of"
ON_BEHALF_OF_HOSPITAL = "X-On-Behalf-Of-Hospital"
ANSWERED = frozenset({200, 202, 409})
LEEWAY_SECONDS = 30.0


def ingest_client(
    url: str, timeout_seconds: float, ca: Path | None = None, certificate: tuple[Path, Path] | None = None
) -> httpx.AsyncClient:
    """A client of the ingest.

    Parameters
    ----------
    ca
        Whose certificates are trusted; None: the system's.
    certificate
        The portal's own certificate and key, where the ingest asks for one.
    """
    if not url.startswith("https://"):
        return httpx.AsyncClient(base_url=url, timeout=timeout_seconds)
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    if certificate:
        context.load_cert_chain(*(str(path) for path in certificate))
    return httpx.AsyncClient(base_url=url, timeout=timeout_seconds, verify=context)


class ServiceToken:
    """The portal's own access token: OAuth 2.0 client credentials (RFC 6749 §4.4), renewed before it expires."""

    def __init__(self, client: httpx.AsyncClient, issuer: str, client_id: str, client_secret: str) -> None:
        self._client = client
        self._issuer = issuer.rstrip("/")
        self._credentials = (client_id, client_secret)
        self._fetching = Lock()
        self._token, self._until = "", 0.0

    async def get(self) -> str:
        """The token.

        Raises
        ------
        ProviderUnavailable
            The provider is away, or refuses.
        """
        async with self._fetching:
            if time.monotonic() >= self._until:
                try:
                    await self._fetch()
                except (httpx.HTTPError, KeyError, ValueError) as error:
                    raise ProviderUnavailable("the provider gives the portal no token of its own") from error
            return self._token

    def forget(self) -> None:
        """It was refused: fetch another one next time."""
        self._until = 0.0

    async def _fetch(self) -> None:
        client_id, client_secret = self._credentials
        discovery = await self._client.get(f"{self._issuer}/.well-known/openid-configuration")
        discovery.raise_for_status()
        answer = await self._client.post(
            discovery.json()["token_endpoint"],
            data={"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret},
        )
        answer.raise_for_status()
        document = answer.json()
        self._token = str(document["access_token"])
        self._until = time.monotonic() + max(1.0, float(document.get("expires_in", 60)) - LEEWAY_SECONDS)


class HttpInstanceStore:
    """`InstanceStore` by httpx; every call has a deadline."""

    def __init__(self, client: httpx.AsyncClient, token: ServiceToken) -> None:
        self._client = client
        self._token = token

    async def store(
        self, holder: str, study_uid: str, files: Sequence[bytes], *, user: str, hospital: str = ""
    ) -> dict[str, Any]:
        """See `InstanceStore.store`."""
        boundary = uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(head + file + b"\r\n" for file in files) + f"--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": ANSWER,
            ON_BEHALF_OF: quote(user, safe="@.-_"),
            **({ON_BEHALF_OF_HOSPITAL: hospital} if hospital else {}),
        }
        answer = await self._post(f"/studies/{study_uid}", {"holder": holder}, headers, body)
        if answer.status_code == 401:
            self._token.forget()
            answer = await self._post(f"/studies/{study_uid}", {"holder": holder}, headers, body)
        return _outcome(answer)

    async def forward(
        self, holder: str, content_type: str, length: int, body: AsyncIterator[bytes], *, user: str, hospital: str
    ) -> dict[str, Any]:
        """See `InstanceDoor.forward`."""
        headers = {
            "Content-Type": content_type,
            "Content-Length": str(length),
            "Accept": ANSWER,
            ON_BEHALF_OF: quote(user, safe="@.-_"),
            ON_BEHALF_OF_HOSPITAL: hospital,
        }
        answer = await self._post("/studies", {"holder": holder}, headers, body)
        if answer.status_code == 401:
            self._token.forget()
            raise IngestUnavailable("the ingest took the portal's token for expired; send the batch again")
        return _outcome(answer)

    async def _post(
        self, path: str, params: dict[str, str], headers: dict[str, str], body: bytes | AsyncIterator[bytes]
    ) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {await self._token.get()}"}
        try:
            return await self._client.post(path, params=params, headers={**headers, **bearer}, content=body)
        except httpx.HTTPError as error:
            raise IngestUnavailable("the ingest does not answer") from error


def _outcome(answer: httpx.Response) -> dict[str, Any]:
    """What became of each instance; raises when the ingest took nothing, for now or for good."""
    if answer.status_code in ANSWERED:
        return _document(answer)
    if answer.status_code >= 500 and answer.status_code != 507:
        raise IngestUnavailable(f"the ingest answered {answer.status_code}")
    raise IngestRefused(answer.status_code)


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError as error:
        raise IngestUnavailable("the ingest's answer is no DICOM JSON") from error
    return document if isinstance(document, dict) else {}
