"""What a Kubernetes Service does, on one machine: each new connection goes to the next copy that takes it."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from imaging_native.ports import free_port, release

CHUNK_BYTES = 64 * 1024
CONNECT_SECONDS = 2.0


class Balancer:
    """`async with Balancer() as door`: passes bytes on (TLS unopened) from `door.port` to one of `door.copies`.

    Parameters
    ----------
    host
        The address to listen at.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, free_port()
        self.copies: list[int] = []
        """The ports behind it; may change at any time, for connections that come afterwards."""
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Its address for plain HTTP."""
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        release(self.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writers = [writer]
        try:
            if behind := await self._connect():
                writers.append(behind[1])
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pass_on(reader, behind[1]))
                    group.create_task(_pass_on(behind[0], writer))
        except* ConnectionError:  # one of the two has gone: the other is told by the end of its connection
            pass
        finally:
            self._connections.discard(task)
            for one in writers:
                one.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the copy whose turn it is, or to the next one that accepts; None: nobody does."""
        for _ in self.copies:
            port = self.copies[self._turn % len(self.copies)]
            self._turn += 1
            with contextlib.suppress(OSError, TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), CONNECT_SECONDS)
        return None


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the reader's side has said all; the writer's side hears that end, too."""
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()
