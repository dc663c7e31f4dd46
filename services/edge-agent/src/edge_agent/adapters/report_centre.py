"""The centre's door for reports: `POST {ingest_url}/reports` with the original bytes."""

import httpx

from edge_agent.adapters.centre_client import CentreClient, CentreIdentity
from edge_agent.adapters.token import AccessToken
from edge_agent.errors import CentreUnavailable, ReportRefused
from imaging_common.telemetry import current_traceparent

TIMEOUT = httpx.Timeout(connect=5, write=60, read=60, pool=10)
_REFUSALS = frozenset({400, 413, 415, 422})


class HttpReportCentre:
    """`ReportCentre` over HTTP.

    Parameters
    ----------
    token
        None: the centre asks for none (tests).
    identity
        Shows the agent's certificate; None: it has none (tests).
    """

    def __init__(self, ingest_url: str, token: AccessToken | None, identity: CentreIdentity | None = None) -> None:
        self._url = f"{ingest_url.rstrip('/')}/reports"
        self._token = token
        self._client = CentreClient(identity, TIMEOUT)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def send(self, data: bytes, media_type: str) -> None:
        """See `ReportCentre`."""
        headers = {"Content-Type": media_type}
        if traceparent := current_traceparent():
            headers["traceparent"] = traceparent
        try:
            if self._token is not None:
                headers["Authorization"] = f"Bearer {await self._token.get()}"
            async with self._client.use() as client:
                answer = await client.post(self._url, headers=headers, content=data)
        except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
            raise CentreUnavailable(f"a report could not be sent: {type(error).__name__}") from error
        if answer.status_code == 401 and self._token is not None:
            self._token.forget()
        if answer.status_code in _REFUSALS:
            raise ReportRefused(answer.status_code, _detail(answer))
        if answer.status_code != 200:
            raise CentreUnavailable(f"the centre answered {answer.status_code} to a report")


def _detail(answer: httpx.Response) -> str:
    """What the problem document says (RFC 9457); it names no patient."""
    try:
        return str(answer.json().get("detail", ""))[:200]
    except (ValueError, AttributeError):
        return ""
