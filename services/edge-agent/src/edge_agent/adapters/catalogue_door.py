"""The centre's door for catalogues: `POST {ingest_url}/studies/{study}/catalogue` answers the key it lies under."""

import httpx

from edge_agent.adapters.centre_client import CentreClient, CentreIdentity
from edge_agent.adapters.token import AccessToken
from edge_agent.errors import BatchRefused, CentreUnavailable

TIMEOUT = httpx.Timeout(connect=5, write=60, read=120, pool=10)
MEDIA_TYPE = "application/vnd.imaging.catalogue+zstd"
_REFUSALS = frozenset({400, 413, 415, 422})


class HttpCatalogueDoor:
    """`CatalogueDoor` over HTTP.

    Parameters
    ----------
    token
        None: the centre asks for none (tests).
    identity
        Shows the agent's certificate; None: it has none (tests).
    """

    def __init__(self, ingest_url: str, token: AccessToken | None, identity: CentreIdentity | None = None) -> None:
        self._url = ingest_url.rstrip("/")
        self._token = token
        self._client = CentreClient(identity, TIMEOUT)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def put(self, study_uid: str, data: bytes) -> str:
        """See `CatalogueDoor`."""
        headers = {"Content-Type": MEDIA_TYPE, "Accept": "application/json"}
        try:
            if self._token is not None:
                headers["Authorization"] = f"Bearer {await self._token.get()}"
            async with self._client.use() as client:
                answer = await client.post(f"{self._url}/studies/{study_uid}/catalogue", headers=headers, content=data)
        except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
            raise CentreUnavailable(f"a catalogue could not be sent: {type(error).__name__}") from error
        if answer.status_code == 401 and self._token is not None:
            self._token.forget()
        if answer.status_code in _REFUSALS:
            raise BatchRefused(answer.status_code)
        if answer.status_code not in (200, 201):
            raise CentreUnavailable(f"the centre answered {answer.status_code} to a catalogue")
        try:
            key = answer.json()["key"]
        except (ValueError, KeyError, TypeError) as error:
            raise CentreUnavailable("the centre's answer names no key") from error
        return str(key)
