"""`StudyAccess` over the gateway's QIDO-RS (PS3.18 §10.6), asked with the applicant's own token: one access rule."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import structlog

from consult.errors import AccessUnknown
from consult.model import Study
from consult.ports import Facts

_log = structlog.get_logger(__name__)

ASKED_ONCE = 20
"""Studies named in one search: its address stays short."""
STUDY_UID = "0020000D"
MODALITY, BODY_PART = "00080060", "00180015"
FACTS_SECONDS = 3.0
"""An application does not wait longer for what it can do without."""
MARKS = frozenset({"SR", "PR", "KO", "DOC", "SEG", "REG"})
"""Modalities of series that say something of images, and are none."""
HOLDERS = "00080054"
"""Retrieve AE Title: the gateway names the holders there."""


class GatewayStudies:
    """What a search as this person finds; every call has the client's deadline."""

    def __init__(self, client: httpx.AsyncClient, dicomweb_url: str) -> None:
        self._client = client
        self._url = dicomweb_url.rstrip("/")

    async def hidden(self, token: str, studies: Sequence[Study]) -> list[Study]:
        """See `StudyAccess.hidden`; `AccessUnknown` when the gateway does not answer."""
        seen: set[tuple[str, str]] = set()
        uids = sorted({study.study_uid for study in studies})
        for first in range(0, len(uids), ASKED_ONCE):
            seen |= await self._seen(token, uids[first : first + ASKED_ONCE])
        return [study for study in studies if (study.study_uid, study.holder) not in seen]

    async def facts(self, token: str, studies: Sequence[Study]) -> Facts:
        """See `StudyAccess.facts`: of their series, marks and documents left out."""
        uids = sorted({study.study_uid for study in studies})
        rows: list[dict[str, Any]] = []
        try:
            for first in range(0, len(uids), ASKED_ONCE):
                rows += await self._search(token, "series", uids[first : first + ASKED_ONCE], BODY_PART)
        except AccessUnknown:
            _log.warning("study-facts-unknown", studies=len(uids))
            return Facts()
        images = [row for row in rows if not MARKS & set(_values(row, MODALITY))]
        modalities, parts = ({one for row in images for one in _values(row, tag)} for tag in (MODALITY, BODY_PART))
        return Facts(frozenset(modalities), frozenset(parts))

    async def _seen(self, token: str, uids: Sequence[str]) -> set[tuple[str, str]]:
        rows = await self._search(token, "studies", uids)
        return {(_values(row, STUDY_UID)[0], holder) for row in rows for holder in _values(row, HOLDERS)}

    async def _search(self, token: str, level: str, uids: Sequence[str], *more: str) -> list[dict[str, Any]]:
        asked: dict[str, Any] = {"StudyInstanceUID": ",".join(uids), "limit": 1000}
        try:
            answer = await self._client.get(
                f"{self._url}/{level}",
                params=asked | ({"includefield": ",".join(more)} if more else {}),
                headers={"Authorization": f"Bearer {token}", "Accept": "application/dicom+json"},
                timeout=FACTS_SECONDS if more else httpx.USE_CLIENT_DEFAULT,
            )
            answer.raise_for_status()
            return list(answer.json()) if answer.status_code == 200 else []
        except (httpx.HTTPError, ValueError) as error:
            raise AccessUnknown("whether these studies may be seen cannot be asked now; try again") from error


def _values(row: Mapping[str, Any], tag: str) -> list[str]:
    return [str(value) for value in row.get(tag, {}).get("Value", []) if value is not None]
