"""The centre's STOW-RS door (PS3.18 §10.5): a batch streams out of the spool, the answer tells each instance's fate."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from edge_agent.adapters.centre_client import CentreClient, CentreIdentity
from edge_agent.adapters.spool import SpoolFolder
from edge_agent.adapters.token import AccessToken
from edge_agent.errors import BatchRefused, CentreUnavailable
from edge_agent.model import RetrievedFile, SpooledInstance
from edge_agent.ports import StoreAnswer
from imaging_common.telemetry import current_traceparent

CHUNK_BYTES = 4 << 20
TIMEOUT = httpx.Timeout(connect=5, write=60, read=120, pool=10)
_REFERENCED, _FAILED = "00081199", "00081198"
_SOP_INSTANCE, _FAILURE_REASON = "00081155", "00081197"
_FINAL_STATUSES = frozenset({400, 404, 406, 413, 414, 415, 422, 431})


class StowCentre:
    """`Centre` over HTTP.

    Parameters
    ----------
    token
        None: the centre asks for none (tests).
    identity
        Shows the agent's certificate; None: it has none (tests).
    """

    def __init__(
        self,
        ingest_url: str,
        folder: SpoolFolder,
        token: AccessToken | None,
        identity: CentreIdentity | None = None,
    ) -> None:
        self._url = ingest_url.rstrip("/")
        self._folder = folder
        self._token = token
        self._client = CentreClient(identity, TIMEOUT)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def store(
        self, study_uid: str, batch: Sequence[SpooledInstance | RetrievedFile], retrieval_id: str | None = None
    ) -> StoreAnswer:
        """See `Centre`."""
        parts = _Parts(self._folder, batch)
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={parts.boundary}',
            "Content-Length": str(parts.length),
            "Accept": "application/dicom+json",
        }
        if traceparent := current_traceparent():
            headers["traceparent"] = traceparent
        try:
            if self._token is not None:
                headers["Authorization"] = f"Bearer {await self._token.get()}"
            async with self._client.use() as client:
                answer = await client.post(
                    f"{self._url}/studies/{study_uid}",
                    params={"retrieval": retrieval_id} if retrieval_id else None,
                    headers=headers,
                    content=parts.stream(),
                )
            if answer.status_code == 401 and self._token is not None:
                self._token.forget()
            return _read_answer(answer)
        except (httpx.HTTPError, OSError) as error:
            raise CentreUnavailable(f"the batch could not be sent: {type(error).__name__}") from error


def _read_answer(answer: httpx.Response) -> StoreAnswer:
    """The fate of each instance from the Store Instances Response (PS3.18 §10.5.3, Annex I)."""
    if answer.status_code not in (200, 202, 409):
        if answer.status_code in _FINAL_STATUSES:
            raise BatchRefused(answer.status_code)
        raise CentreUnavailable(f"the centre answered {answer.status_code}")
    try:
        document = answer.json()
        stored = {_text(item[_SOP_INSTANCE]) for item in document.get(_REFERENCED, {}).get("Value", [])}
        failed = {
            _text(item[_SOP_INSTANCE]): int(item[_FAILURE_REASON]["Value"][0])
            for item in document.get(_FAILED, {}).get("Value", [])
            if _SOP_INSTANCE in item
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if answer.status_code == 409:
            raise BatchRefused(409) from error
        raise CentreUnavailable("the centre's answer is not a store response") from error
    if not stored and not failed:
        raise BatchRefused(answer.status_code)
    rejected = {uid: f"{reason:04X}" for uid, reason in failed.items() if not _may_pass_later(reason)}
    return StoreAnswer(stored - failed.keys(), rejected)


def _text(attribute: dict[str, Any]) -> str:
    return str(attribute["Value"][0])


def _may_pass_later(reason: int) -> bool:
    """Failure Reason (0008,1197) out of resources, processing failure, not authorised (PS3.4 B.2.3, PS3.7 C)."""
    return 0xA700 <= reason <= 0xA7FF or reason in (0x0110, 0x0124)


class _Parts:
    """The multipart body of a batch (RFC 2387); its length is known before it is read."""

    def __init__(self, folder: SpoolFolder, batch: Sequence[SpooledInstance | RetrievedFile]) -> None:
        self.boundary = uuid.uuid4().hex
        self._files = [(_path(folder, instance), self._head(instance)) for instance in batch]
        self._end = f"--{self.boundary}--\r\n".encode()
        self.length = sum(len(head) + 2 for _, head in self._files) + len(self._end)
        self.length += sum(instance.length for instance in batch)

    def _head(self, instance: SpooledInstance | RetrievedFile) -> bytes:
        lines = (f"--{self.boundary}", "Content-Type: application/dicom", f"Content-Length: {instance.length}")
        return "\r\n".join((*lines, "", "")).encode()

    async def stream(self) -> AsyncIterator[bytes]:
        """The body, at most a few megabytes at a time."""
        waiting = b""
        for path, head in self._files:
            waiting += head
            async for chunk in _read(path):
                yield waiting + chunk if len(chunk) < CHUNK_BYTES else waiting
                if len(chunk) >= CHUNK_BYTES:
                    yield chunk
                waiting = b""
            waiting += b"\r\n"
        yield waiting + self._end


def _path(folder: SpoolFolder, instance: SpooledInstance | RetrievedFile) -> Path:
    return instance.path if isinstance(instance, RetrievedFile) else folder.path(instance.sha256)


async def _read(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
            if len(chunk) < CHUNK_BYTES:
                return
    finally:
        file.close()
