"""Asks the PACS for an echo when the centre wants to know, and says how it went."""

import asyncio
import time
from datetime import UTC, datetime

from edge_agent.errors import PacsRefused, PacsUnreachable
from edge_agent.ports import PacsEcho
from imaging_common.errors import ImagingError
from imaging_common.events import EchoAnswered, EchoRequested
from imaging_common.events.edge import EchoReason
from imaging_common.messaging import EventPublisher
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)


class EchoDesk:
    """One per agent. An answer that Kafka does not take is not repeated: whoever asked asks again."""

    def __init__(self, hospital: str, echo: PacsEcho | None, publisher: EventPublisher) -> None:
        self._topic = f"edge-events-{hospital}"
        self._echo = echo
        self._publisher = publisher
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self, request: EchoRequested) -> None:
        """Ask in the background: the topic's other commands do not wait for a slow PACS."""
        if request.echo_id not in self._running:
            task = asyncio.create_task(self.answer(request))
            self._running[request.echo_id] = task
            task.add_done_callback(lambda _: self._running.pop(request.echo_id, None))

    async def answer(self, request: EchoRequested) -> None:
        """Ask, unless it is too late, and tell."""
        now = datetime.now(UTC)
        if now >= request.deadline:
            return
        began = time.monotonic()
        reason: EchoReason = ""
        milliseconds = 0
        try:
            if self._echo is None:
                reason = "no-pacs"
            else:
                async with asyncio.timeout((request.deadline - now).total_seconds()):
                    milliseconds = await self._echo.ask()
        except TimeoutError:
            reason = "deadline"
        except PacsUnreachable:
            reason = "pacs-unreachable"
        except PacsRefused:
            reason = "pacs-refused"
        event = EchoAnswered(
            echo_id=request.echo_id,
            reason=reason,
            milliseconds=milliseconds or round((time.monotonic() - began) * 1000),
            at=datetime.now(UTC),
        )
        try:
            await self._publisher.publish(self._topic, event, "")
        except ImagingError as error:
            _log.warning("echo-not-told", error=str(error))
