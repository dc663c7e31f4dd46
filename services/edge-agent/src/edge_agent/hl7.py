"""HL7 v2 in: MLLP (HL7 v2.5 Appendix C.4) over TCP. One message at a time on a connection; AA only when durable."""

import asyncio
from collections.abc import Callable
from typing import Any

from hl7.mllp import InvalidBlockError, start_hl7_server
from prometheus_client import Counter

from edge_agent.model import AllowList
from edge_agent.settings import Settings
from imaging_common.telemetry import get_logger

CONNECTIONS_REFUSED = Counter("imaging_edge_mllp_refused", "MLLP connections that were closed", ["reason"])
MESSAGES = Counter("imaging_edge_mllp_messages", "HL7 messages answered", ["code"])
WRITE_SECONDS = 30.0
_log = get_logger(__name__)
TakeBytes = Callable[[bytes], bytes]


class MllpServer:
    """The port `mllp_port`; 0: off.

    Parameters
    ----------
    take
        Turns a message into its acknowledgement; blocks, so it runs in a thread.
    """

    def __init__(self, settings: Settings, take: TakeBytes) -> None:
        self._settings = settings
        self._take = take
        self._connections: set[asyncio.Task[Any]] = set()
        self._callers = AllowList(
            ",".join(f"*@{address.strip()}" for address in settings.mllp_callers.split(",") if address.strip())
            or settings.allowed_callers
        )

    async def run(self) -> None:
        """Serve until cancelled."""
        if not self._settings.mllp_port:
            return
        server = await start_hl7_server(
            self._serve,
            self._settings.mllp_host,
            self._settings.mllp_port,
            limit=self._settings.mllp_message_bytes,
        )
        try:
            await server.serve_forever()
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: Any, writer: Any) -> None:
        """One connection; whatever happens to it, the others go on."""
        task = asyncio.current_task()
        address = (writer.get_extra_info("peername") or ("",))[0]
        try:
            if len(self._connections) >= self._settings.mllp_connections:
                CONNECTIONS_REFUSED.labels("too-many").inc()
            elif not self._callers.allows("", address):
                CONNECTIONS_REFUSED.labels("address").inc()
                _log.warning("mllp-caller-refused")
            elif task is not None:
                self._connections.add(task)
                await self._answer_all(reader, writer)
        except Exception as error:
            CONNECTIONS_REFUSED.labels("failed").inc()
            _log.error("mllp-connection-failed", error=type(error).__name__, exc_info=error)
        finally:
            if task is not None:
                self._connections.discard(task)
            writer.close()

    async def _answer_all(self, reader: Any, writer: Any) -> None:
        while True:
            try:
                async with asyncio.timeout(self._settings.mllp_idle_seconds):
                    data = await reader.readblock()
                answer = await asyncio.to_thread(self._take, data)
                MESSAGES.labels(_code_of(answer)).inc()
                writer.writeblock(answer)
                async with asyncio.timeout(WRITE_SECONDS):
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            except TimeoutError:
                CONNECTIONS_REFUSED.labels("idle").inc()
                return
            except InvalidBlockError:
                CONNECTIONS_REFUSED.labels("no-mllp").inc()
                return
            except ValueError:  # hl7.mllp: the limit of the reader
                CONNECTIONS_REFUSED.labels("too-large").inc()
                return


def _code_of(answer: bytes) -> str:
    """MSA-1 of an acknowledgement of ours."""
    return answer.split(b"\rMSA")[-1][1:3].decode("ascii", "replace")
