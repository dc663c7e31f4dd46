"""WADO-RS (PS3.18 §10.4): instances, or a whole series, as multipart/related of Part 10 files, streamed into files."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import httpx

from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.adapters.pacs_retrieve.multipart import FilesOfParts
from edge_agent.errors import PacsRefused, PacsUnreachable
from edge_agent.model import PacsInstance, RetrievedFile
from edge_agent.settings import Settings

ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
CHUNK_BYTES = 1 << 20
CONNECT_SECONDS = 5.0
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_GONE = frozenset({404, 410})


class WadoPacs:
    """`PacsRetriever` by WADO-RS, on connections that stay open."""

    name = "wado-rs"

    def __init__(self, settings: Settings, folder: RetrieveFolder) -> None:
        self._root = settings.pacs_dicomweb_url.rstrip("/")
        self._folder = folder
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(settings.pacs_timeout_seconds, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=2 * settings.pacs_associations, keepalive_expiry=30),
            headers={"Accept": ACCEPT, "Accept-Encoding": "identity"},
            follow_redirects=False,
        )

    async def close(self) -> None:
        """See `PacsRetriever`."""
        await self._client.aclose()

    async def fetch(
        self, wanted: Sequence[PacsInstance], *, whole_series: bool = False
    ) -> AsyncGenerator[RetrievedFile, None]:
        """See `PacsRetriever`; one request for a whole series, else one after another."""
        first = wanted[0]
        series = f"{self._root}/studies/{first.study_uid}/series/{first.series_uid}"
        requests = [(series, {one.sop_instance_uid: one for one in wanted})]
        if not whole_series:
            requests = [(f"{series}/instances/{one.sop_instance_uid}", {one.sop_instance_uid: one}) for one in wanted]
        for url, expected in requests:
            async with aclosing(self._get(url, expected)) as files:
                async for file in files:
                    yield file

    async def _get(self, url: str, wanted: dict[str, PacsInstance]) -> AsyncGenerator[RetrievedFile, None]:
        try:
            async with self._client.stream("GET", url) as answer:
                if answer.status_code in _GONE:
                    return
                if answer.status_code != 200:
                    raise PacsRefused(f"the PACS answered {answer.status_code}")
                boundary = _BOUNDARY.search(answer.headers.get("Content-Type", ""))
                if boundary is None:
                    raise PacsRefused("the PACS's answer is not multipart")
                async with aclosing(self._files(answer, boundary[1].encode())) as paths:
                    async for path in paths:
                        file = await asyncio.to_thread(self._folder.take, path, wanted)
                        if file is not None:
                            yield file
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise PacsUnreachable("the PACS takes no connection") from error
        except (httpx.HTTPError, OSError) as error:
            raise PacsUnreachable(f"the PACS broke off: {type(error).__name__}", connected=True) from error

    async def _files(self, answer: httpx.Response, boundary: bytes) -> AsyncGenerator[Path, None]:
        parts = FilesOfParts(self._folder, boundary)
        whole: deque[Path] = deque()
        try:
            async for chunk in answer.aiter_bytes(CHUNK_BYTES):
                whole += await asyncio.to_thread(parts.feed, chunk)
                while whole:
                    yield whole.popleft()
            if not parts.ended:
                raise PacsUnreachable("the PACS's answer ends early", connected=True)
        finally:
            parts.discard()
            for path in whole:
                self._folder.drop(path)
