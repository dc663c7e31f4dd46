"""The regional cloud as this EHR uses it: FHIR and launches, with the EHR's own account (client credentials)."""

import time
from collections.abc import Mapping
from typing import Any

import httpx

from imaging_native.ehr_standin.settings import EhrSettings

RESIDENT_SYSTEM = "urn:imaging:resident"
EARLY_SECONDS = 30


class CloudAway(Exception):
    """The regional cloud or its identity provider does not answer, or refuses."""


class Cloud:
    """Every call has a deadline; a token is asked for again before it expires."""

    def __init__(self, settings: EhrSettings, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = client
        self._token = ""
        self._until = 0.0

    async def studies(self, resident_id: str) -> list[dict[str, Any]]:
        """The resident's `ImagingStudy` resources, newest first."""
        return await self._search("ImagingStudy/_search", resident_id, {"_count": "100"})

    async def reports(self, resident_id: str) -> list[dict[str, Any]]:
        """The resident's `DiagnosticReport` resources, newest first."""
        return await self._search("DiagnosticReport/_search", resident_id, {"_count": "100"})

    async def recent(self, resident_id: str, modality: str, part: str) -> list[dict[str, Any]]:
        """Recent examinations like the one that is about to be ordered."""
        asked = {"modality": modality} | ({"bodysite": part} if part else {})
        return await self._search("ImagingStudy/$recent-examinations", resident_id, asked)

    async def launch(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """A single-use code for a window: `{"code", "expires_in", "action"}`."""
        answer = await self._call("POST", "/launches", json=dict(asked))
        return dict(answer.json())

    async def opened(self, resident_id: str) -> None:
        """Say that somebody opens the record, so that its images are at hand."""
        await self._call("POST", f"/ehr/records/{resident_id}/opened")

    async def document(self, url: str) -> bytes:
        """A PDF of a report."""
        path = url.removeprefix(self._settings.portal_url)
        return (await self._call("GET", path if path.startswith("/fhir/R4/Binary/") else "/fhir/R4/Binary/0")).content

    async def _search(self, path: str, resident_id: str, asked: Mapping[str, str]) -> list[dict[str, Any]]:
        form = {"patient.identifier": f"{RESIDENT_SYSTEM}|{resident_id}", **asked}
        bundle = (await self._call("POST", f"/fhir/R4/{path}", data=form)).json()
        matches = [entry for entry in bundle.get("entry", []) if entry["search"]["mode"] == "match"]
        return [dict(entry["resource"]) for entry in matches]

    async def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            headers = {"Authorization": f"Bearer {await self._bearer()}"}
            answer = await self._client.request(
                method, f"{self._settings.portal_url}{path}", headers=headers, **options
            )
        except httpx.HTTPError as error:
            raise CloudAway("the regional cloud does not answer") from error
        if answer.status_code >= 400:
            raise CloudAway(f"the regional cloud answered {answer.status_code}")
        return answer

    async def _bearer(self) -> str:
        if time.monotonic() >= self._until:
            form = {"grant_type": "client_credentials", "client_id": self._settings.client_id,
                    "client_secret": self._settings.client_secret.get_secret_value()}  # fmt: skip
            url = f"{self._settings.oidc_issuer}/protocol/openid-connect/token"
            answer = await self._client.post(url, data=form)
            if answer.status_code != 200:
                raise CloudAway(f"the identity provider answered {answer.status_code}")
            self._token = str(answer.json()["access_token"])
            self._until = time.monotonic() + int(answer.json()["expires_in"]) - EARLY_SECONDS
        return self._token
