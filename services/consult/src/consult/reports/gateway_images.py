"""`Images` over the gateway's DICOMweb (PS3.18 §10.4, §10.6), as the consult service: what its open cases name."""

from typing import Any

import httpx

from consult.model import KeyImage, Study
from consult.reports.errors import SourceUnavailable
from consult.reports.model import Header, Picture
from consult.reports.service_token import ServiceToken

RENDERED = {"viewport": "1000,1000", "quality": "85"}
ROW_SECONDS = 10.0
PICTURE_SECONDS = 45.0
"""A hospital with its own PACS brings it first."""
JSON = "application/dicom+json"


class GatewayImages:
    """Every call has a deadline; 404 is an answer."""

    def __init__(self, client: httpx.AsyncClient, dicomweb_url: str, token: ServiceToken) -> None:
        self._client = client
        self._url = dicomweb_url.rstrip("/")
        self._token = token

    async def header(self, study: Study) -> Header | None:
        """See `Images.header`."""
        root = f"{self._url}/hospitals/{study.holder}/studies"
        rows = await self._rows(root, {"StudyInstanceUID": study.study_uid})
        return rows[0] if rows else None

    async def picture(self, image: KeyImage) -> Picture:
        """See `Images.picture`."""
        study = f"{self._url}/hospitals/{image.holder}/studies/{image.study_uid}"
        series = await self._rows(f"{study}/series", {"SeriesInstanceUID": image.series_uid})
        below = f"{study}/series/{image.series_uid}/instances"
        instances = await self._rows(below, {"SOPInstanceUID": image.instance_uid})
        if not instances:
            return Picture(image=image)
        row, of_series = instances[0], series[0] if series else {}
        return Picture(
            image=image,
            sop_class_uid=str(_first(row, "00080016") or ""),
            series_number=_number(_first(of_series, "00200011")),
            instance_number=_number(_first(row, "00200013")),
            modality=str(_first(of_series, "00080060") or ""),
            jpeg=await self._rendered(f"{below}/{image.instance_uid}/frames/{image.frame}/rendered"),
        )

    async def _rendered(self, url: str) -> bytes | None:
        answer = await self._get(url, RENDERED, "image/jpeg", PICTURE_SECONDS)
        return answer.content if answer is not None and answer.status_code == 200 else None

    async def _rows(self, url: str, params: dict[str, str]) -> list[dict[str, Any]]:
        answer = await self._get(url, params, JSON)
        if answer is None or answer.status_code >= 500:
            raise SourceUnavailable("the gateway does not answer what the case's studies are")
        if answer.status_code == 401:
            self._token.forget()
            raise SourceUnavailable("the gateway does not take the consult service's token")
        if answer.status_code != 200:
            return []
        try:
            return list(answer.json())
        except ValueError as error:
            raise SourceUnavailable("the gateway's answer is no DICOM JSON") from error

    async def _get(
        self, url: str, params: dict[str, str], accept: str, seconds: float = ROW_SECONDS
    ) -> httpx.Response | None:
        headers = {"Authorization": f"Bearer {await self._token.get()}", "Accept": accept}
        try:
            return await self._client.get(url, params=params, headers=headers, timeout=seconds)
        except httpx.HTTPError:
            return None


def _first(row: dict[str, Any], tag: str) -> Any:
    return (row.get(tag, {}).get("Value") or [None])[0]


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
