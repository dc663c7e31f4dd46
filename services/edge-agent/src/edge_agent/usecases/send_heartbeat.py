"""Says every few seconds that the agent lives, and what it still has to send."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version

from edge_agent.ports import StudyJournal
from edge_agent.settings import Settings
from imaging_common.errors import RetryableError
from imaging_common.events import EdgeHeartbeat, PacsState
from imaging_common.messaging import EventPublisher
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
AGENT_VERSION = version("imaging-edge-agent")


class Heartbeat:
    """One per agent. A heartbeat that Kafka does not take is not repeated: the next one says more."""

    def __init__(
        self,
        settings: Settings,
        journal: StudyJournal,
        publisher: EventPublisher,
        pacs: Callable[[], PacsState | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._publisher = publisher
        self._pacs = pacs
        self.lag: Callable[[], Awaitable[int | None]] = _unknown
        """Records on the command topic that were not read yet."""
        self._sequence = 0
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def notify(self) -> None:
        """Something turned that the centre should know at once; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._news.set)

    async def run(self) -> None:
        """Beat until cancelled, and out of turn when something turned."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            try:
                await self.send_heartbeat()
            except RetryableError as error:
                _log.warning("heartbeat-not-sent", error=str(error))
            try:
                async with asyncio.timeout(self._settings.heartbeat_seconds):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def send_heartbeat(self) -> None:
        """Publish one."""
        usage = self._journal.usage()
        oldest = await asyncio.to_thread(self._journal.oldest_unsent_at)
        event = EdgeHeartbeat(
            sequence=self._sequence,
            backlog_instances=usage.backlog_instances,
            backlog_bytes=usage.backlog_bytes,
            spool_bytes=usage.held_bytes + usage.ring_bytes,
            spool_limit_bytes=self._settings.spool_limit_bytes,
            agent_version=AGENT_VERSION,
            sent_at=datetime.now(UTC),
            pacs=await asyncio.to_thread(self._pacs),
            oldest_unsent_at=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
            consumer_lag=await self.lag(),
        )
        self._sequence += 1
        await self._publisher.publish(f"edge-events-{self._settings.hospital}", event, "")


async def _unknown() -> int | None:
    return None
