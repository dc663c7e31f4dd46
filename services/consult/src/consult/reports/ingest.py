"""`ReportArchive` by STOW-RS at the region's ingest (PS3.18 §10.5), as the consult service on behalf of the author."""

import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import httpx

from consult.model import Study
from consult.reports.errors import SourceUnavailable
from consult.reports.service_token import ServiceToken

ANSWER = "application/dicom+json"
FAILED = "00081198"
"""Failed SOP Sequence."""


def ingest_client(url: str, timeout_seconds: float, ca: Path | None = None) -> httpx.AsyncClient:
    """A client of the ingest; `ca`: whose certificates are trusted (None: the system's)."""
    if not url.startswith("https://"):
        return httpx.AsyncClient(base_url=url, timeout=timeout_seconds)
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    return httpx.AsyncClient(base_url=url, timeout=timeout_seconds, verify=context)


class StowArchive:
    """One request a report."""

    def __init__(self, client: httpx.AsyncClient, token: ServiceToken) -> None:
        self._client = client
        self._token = token

    async def store(self, study: Study, files: Sequence[bytes], *, user: str, hospital: str) -> None:
        """See `ReportArchive.store`."""
        boundary = uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(head + file + b"\r\n" for file in files) + f"--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": ANSWER,
            "Authorization": f"Bearer {await self._token.get()}",
            "X-On-Behalf-Of": quote(user, safe="@.-_"),
            **({"X-On-Behalf-Of-Hospital": hospital} if hospital else {}),
        }
        path, whose = f"/studies/{study.study_uid}", {"holder": study.holder}
        try:
            answer = await self._client.post(path, params=whose, headers=headers, content=body)
        except httpx.HTTPError as error:
            raise SourceUnavailable("the ingest does not answer") from error
        if answer.status_code == 401:
            self._token.forget()
        if answer.status_code != 200:
            raise SourceUnavailable(f"the ingest does not take the report ({answer.status_code}{_reasons(answer)})")


def _reasons(answer: httpx.Response) -> str:
    """Failure Reasons (0008,1197) of what it refused."""
    try:
        failed = answer.json().get(FAILED, {}).get("Value", [])
        reasons = {f"{value:04X}" for one in failed for value in one.get("00081197", {}).get("Value", [])}
    except (ValueError, AttributeError, TypeError):
        return ""
    return "".join(f", reason {reason}" for reason in sorted(reasons))
