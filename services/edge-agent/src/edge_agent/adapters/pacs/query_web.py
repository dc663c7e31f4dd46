"""QIDO-RS (PS3.18 §10.6) with paging, and WADO-RS metadata (§10.4.1.1.4)."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from edge_agent.adapters.pacs.json_stream import ArrayReader
from edge_agent.adapters.pacs.query_dimse import PRIORITY
from edge_agent.adapters.pacs.web_header import answer, whole_header
from edge_agent.adapters.pacs_slots import PacsSlots
from edge_agent.errors import PacsRefused, PacsUnreachable
from edge_agent.pacs_model import (
    AVAILABLE_SYNTAX,
    INSTANCE,
    MODALITIES,
    SERIES,
    SOP_UID,
    STUDY_INSTANCE_COUNT,
    STUDY_SERIES_COUNT,
    STUDY_UID,
    DicomJson,
    Found,
    StudyMatch,
    text,
)
from edge_agent.ports import PacsHealth
from edge_agent.settings import Settings
from imaging_common.ids import is_uid

JSON = "application/dicom+json"
Parameters = list[tuple[str, str | int | float | bool | None]]
PAGE = 500
"""Series or instances a page."""
MAX_METADATA_BYTES = 512 << 20
"""Of one series; beyond it the catalogue does without whole headers."""
_STUDY_FIELDS = (MODALITIES, STUDY_SERIES_COUNT, STUDY_INSTANCE_COUNT, "00081030", "00100021", "00101010", "00101030")


class WebQuery:
    """`PacsQuery` by DICOMweb. Each request holds a slot."""

    gives_headers = True

    def __init__(self, settings: Settings, slots: PacsSlots, health: PacsHealth) -> None:
        seconds = settings.pacs_timeout_seconds
        self._root = settings.pacs_dicomweb_url.rstrip("/")
        self._page = max(1, settings.pacs_find_limit)
        self._slots = slots
        self._health = health
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(seconds, connect=min(5.0, seconds)))

    async def close(self) -> None:
        """See `PacsQuery`."""
        await self._client.aclose()

    async def studies(self, match: StudyMatch) -> Found:
        """See `PacsQuery`; all pages, unless the PACS cannot page."""
        return await self._pages("/studies", match.keys(), _STUDY_FIELDS, STUDY_UID, self._page)

    async def series(self, study_uid: str) -> list[DicomJson]:
        """See `PacsQuery`."""
        return await self._all(f"/studies/{_checked(study_uid)}/series", SERIES, "0020000E")

    async def instances(self, study_uid: str, series_uid: str) -> list[DicomJson]:
        """See `PacsQuery`."""
        path = f"/studies/{_checked(study_uid)}/series/{_checked(series_uid)}/instances"
        return await self._all(path, INSTANCE, SOP_UID)

    async def headers(self, study_uid: str, series_uid: str) -> list[DicomJson]:
        """See `PacsQuery`; each object is taken as it comes, and left without its bulk values."""
        path = f"/studies/{_checked(study_uid)}/series/{_checked(series_uid)}/metadata"
        reader, found, size = ArrayReader(), list[DicomJson](), 0
        try:
            async with (
                self._slots.take(PRIORITY),
                self._client.stream("GET", self._root + path, headers={"Accept": JSON}) as reply,
            ):
                _check(reply)
                async for piece in reply.aiter_bytes(1 << 20):
                    size += len(piece)
                    if size > MAX_METADATA_BYTES:
                        raise PacsRefused("a series' metadata is too large")
                    found += await asyncio.to_thread(_headers, reader, piece)
                found += await asyncio.to_thread(_headers, reader, None)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._unreachable(error) from error
        except ValueError as error:
            raise PacsRefused(f"the PACS's metadata cannot be read: {error}") from error
        self._health.answered()
        return found

    async def _all(self, path: str, fields: Sequence[str], uid_tag: str) -> list[DicomJson]:
        found = await self._pages(path, {}, fields, uid_tag, PAGE)
        if not found.complete:
            raise PacsRefused("the PACS cut an answer off and cannot page")
        return found.studies

    async def _pages(self, path: str, match: dict[str, str], fields: Sequence[str], uid_tag: str, page: int) -> Found:
        """Page by page until one is empty or the end is certain; a PACS that ignores `offset` shows by repeating."""
        matches: dict[str, DicomJson] = {}
        asked: Parameters = list(match.items())
        asked += [("includefield", tag) for tag in fields if tag != AVAILABLE_SYNTAX]
        offset = 0
        while True:
            answers, warned = await self._get(path, [*asked, ("limit", str(page)), ("offset", str(offset))])
            new = {uid: one for one in answers if is_uid(uid := text(one, uid_tag)) and uid not in matches}
            if len(answers) > page:  # it ignores `limit`, and gave everything, unless it says otherwise
                return Found([*matches.values(), *new.values()], complete=not warned, paged=True)
            if not answers:
                return Found(list(matches.values()), complete=True, paged=True)
            if not new:
                return Found(list(matches.values()), complete=False)
            matches.update(new)
            offset += len(answers)

    async def _get(self, path: str, query: Parameters) -> tuple[list[DicomJson], bool]:
        """One page, and whether a Warning 299 says that there is more (PS3.18 §8.3.4)."""
        try:
            async with self._slots.take(PRIORITY):
                reply = await self._client.get(self._root + path, params=query, headers={"Accept": JSON})
                _check(reply)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        self._health.answered()
        if reply.status_code == 204 or not reply.content:
            return [], False
        try:
            return await asyncio.to_thread(_answers, reply), reply.headers.get("Warning", "").startswith("299")
        except (ValueError, TypeError) as error:
            raise PacsRefused("the PACS's answer is no DICOM JSON") from error

    def _unreachable(self, error: Exception) -> PacsUnreachable:
        text = f"the PACS's DICOMweb does not answer: {type(error).__name__}"
        self._health.failed(text)
        return PacsUnreachable(text)


def _checked(uid: str) -> str:
    if not is_uid(uid):
        raise PacsRefused("not a UID")
    return uid


def _check(reply: httpx.Response) -> None:
    if reply.status_code not in (200, 204, 206):
        kind = PacsUnreachable if reply.status_code in (502, 503, 504) else PacsRefused
        raise kind(f"the PACS's DICOMweb answered {reply.status_code}")


def _answers(reply: httpx.Response) -> list[DicomJson]:
    document: list[dict[str, Any]] = reply.json()
    return [answer(one) for one in document]


def _headers(reader: ArrayReader, piece: bytes | None) -> list[DicomJson]:
    raw = reader.end() if piece is None else reader.feed(piece)
    return [_kept(one) for one in raw]


def _kept(raw: DicomJson) -> DicomJson:
    """The whole header; what syntax the PACS keeps the instance in stays beside it until the catalogue is made."""
    header = whole_header(raw)
    if AVAILABLE_SYNTAX in raw:
        header[AVAILABLE_SYNTAX] = raw[AVAILABLE_SYNTAX]
    return header
