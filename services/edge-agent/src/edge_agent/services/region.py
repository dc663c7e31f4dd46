"""The region's DICOMweb as the services AE asks it (PS3.18 §10.4, §10.6), with the edge agent's own token. Blocking."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import httpx

from edge_agent.adapters.centre_client import CentreIdentity
from edge_agent.adapters.token import AccessToken
from edge_agent.errors import RegionRefused, RegionUnavailable
from edge_agent.services.multipart import boundary_of, files_of

PAGE = 1000
SEARCH_TIMEOUT = httpx.Timeout(connect=5, read=30, write=10, pool=30)
TOKEN_SECONDS = 25.0
Parameters = Sequence[tuple[str, str]]
Row = dict[str, Any]


class Bearer(Protocol):
    """Where the token comes from."""

    def get(self) -> str:
        """The token; raises `httpx.HTTPError` or TimeoutError."""
        ...

    def forget(self) -> None:
        """It was refused."""
        ...


class ThreadedToken:
    """`AccessToken` for threads: it lives on an event loop of its own."""

    def __init__(self, token: AccessToken) -> None:
        self._token = token
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="token", daemon=True).start()

    def get(self) -> str:
        """See `Bearer`."""
        return asyncio.run_coroutine_threadsafe(self._token.get(), self._loop).result(TOKEN_SECONDS)

    def forget(self) -> None:
        """See `Bearer`."""
        self._loop.call_soon_threadsafe(self._token.forget)


class Line:
    """The connection of one retrieval, which another thread may cut: the region then learns that nobody waits."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._cut = False

    def cut(self) -> None:
        """End it; harmless at any time."""
        self._cut = True
        if self._socket is not None:
            with suppress(OSError, ValueError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """`httpx`'s trace extension: learns the socket."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            if self._cut:
                self.cut()


class RegionDicomweb:
    """QIDO-RS and WADO-RS at the gateway.

    Parameters
    ----------
    token
        None: the gateway asks for none (tests).
    folder
        Where retrieved files lie on their way.
    wait_seconds
        How long the gateway may take until the next byte of a retrieval: it fetches from the holder meanwhile.
    identity
        Shows the agent's certificate; None: it has none (tests).
    """

    def __init__(
        self,
        gateway_url: str,
        token: Bearer | None,
        folder: Path,
        wait_seconds: float,
        identity: CentreIdentity | None = None,
    ) -> None:
        self._identity = identity or CentreIdentity("")
        self._token = token
        self._folder = folder
        self._wait = httpx.Timeout(connect=5, read=wait_seconds, write=30, pool=30)
        self._root = f"{gateway_url.rstrip('/')}/dicomweb"
        self._context = self._identity.context()
        self._client = self._connect()
        self._former: httpx.Client | None = None
        self._renewing = threading.Lock()

    def search(self, path: str, parameters: Parameters, limit: int) -> Iterator[Row]:
        """The rows of a search, page by page, at most `limit`.

        Raises
        ------
        RegionUnavailable
            The gateway does not answer.
        RegionRefused
            It refuses the question; nothing found, and nothing that may be seen, is no refusal.
        """
        offset = 0
        while offset < limit:
            size = min(PAGE, limit - offset)
            page = self._page(path, [*parameters, ("limit", str(size)), ("offset", str(offset))])
            yield from page
            if len(page) < size:
                return
            offset += size

    def files(self, path: str, line: Line) -> Iterator[Path]:
        """The instances of a study, series or instance resource, each as a file that is the caller's to delete.

        Raises
        ------
        RegionUnavailable
            The gateway does not answer, or broke off; what came is complete.
        RegionRefused
            It refuses.
        """
        accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        try:
            with (
                self._connect() as client,
                self._answer(client, path, (), accept, self._wait, {"trace": line.trace}) as answer,
            ):
                _check(answer)
                yield from files_of(
                    answer.iter_bytes(), boundary_of(answer.headers.get("content-type", "")), self._folder
                )
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise RegionUnavailable(f"the region broke off: {type(error).__name__}") from error

    def _searching(self) -> httpx.Client:
        """The client of searches; a new one once the certificate has changed, the former may end what it began."""
        with self._renewing:
            if self._identity.context() is not self._context:
                if self._former is not None:
                    self._former.close()
                self._former = self._client
                self._context = self._identity.context()
                self._client = self._connect()
            return self._client

    def _connect(self) -> httpx.Client:
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
        return httpx.Client(
            base_url=self._root, limits=limits, verify=self._identity.context(), headers=self._identity.headers
        )

    def _page(self, path: str, parameters: Parameters) -> list[Row]:
        try:
            accept = {"Accept": "application/dicom+json"}
            with self._answer(self._searching(), path, parameters, accept, SEARCH_TIMEOUT) as answer:
                answer.read()
                if answer.status_code in (204, 404):
                    return []
                _check(answer)
                rows = answer.json()
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise RegionUnavailable(f"the region does not answer: {type(error).__name__}") from error
        if not isinstance(rows, list):
            raise RegionUnavailable("the region's answer is no list")
        return rows

    @contextmanager
    def _answer(
        self,
        client: httpx.Client,
        path: str,
        parameters: Parameters,
        headers: dict[str, str],
        timeout: httpx.Timeout,
        extensions: dict[str, Any] | None = None,
    ) -> Iterator[httpx.Response]:
        """An answer with its body still to come; a token that was refused is fetched anew once."""
        for attempt in (1, 2):
            if self._token is not None:
                headers = {**headers, "Authorization": f"Bearer {self._token.get()}"}
            with client.stream(
                "GET", path, params=list(parameters), headers=headers, timeout=timeout, extensions=extensions
            ) as answer:
                if answer.status_code == 401 and self._token is not None and attempt == 1:
                    self._token.forget()
                    continue
                yield answer
                return


def _check(answer: httpx.Response) -> None:
    status = answer.status_code
    if status in (408, 425, 429) or status >= 500:
        raise RegionUnavailable(f"the region answered {status}")
    if status >= 300:
        raise RegionRefused(status)
