"""A light HTTP reader, so that the benchmark measures servers and not its own client: `http.client` in threads."""

import asyncio
import http.client
import queue
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 60


class Reader:
    """So many connections to one server, each kept open; `cookies` are sent with every request."""

    def __init__(self, base_url: str, connections: int, cookies: Mapping[str, str] | None = None) -> None:
        host = urlsplit(base_url).netloc
        self._cookie = "; ".join(f"{name}={value}" for name, value in (cookies or {}).items())
        self._idle: queue.SimpleQueue[http.client.HTTPConnection] = queue.SimpleQueue()
        for _ in range(connections):
            self._idle.put(http.client.HTTPConnection(host, timeout=TIMEOUT_SECONDS))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while not self._idle.empty():
            self._idle.get_nowait().close()

    async def get(self, path: str, headers: Mapping[str, str]) -> int:
        """Read an answer to its end; its status."""
        return await asyncio.to_thread(self._get, path, headers)

    def _get(self, path: str, headers: Mapping[str, str]) -> int:
        connection = self._idle.get()
        cookie = {"Cookie": self._cookie} if self._cookie else {}
        try:
            connection.request("GET", path, headers={**headers, **cookie})
            return self._status(connection)
        except (http.client.RemoteDisconnected, ConnectionError):  # it was idle for long, and the server closed it
            connection.close()
            connection.request("GET", path, headers={**headers, **cookie})
            return self._status(connection)
        finally:
            self._idle.put(connection)

    @staticmethod
    def _status(connection: http.client.HTTPConnection) -> int:
        answer = connection.getresponse()
        answer.read()
        return answer.status
