"""Keeps what edge agents and the store keeper say of themselves, for the operators' pages."""

from collections.abc import Awaitable, Callable

from gateway.live import LiveHub
from gateway.model import EdgeSpoke
from gateway.operations.ports import EchoStore, EdgeLog, UsageStore
from gateway.retrievals.edges import Clock, utc_now
from imaging_common.events import (
    EchoAnswered,
    EdgeHeartbeat,
    Envelope,
    Event,
    StorageMeasured,
    StudyAvailable,
)

Reader = Callable[[Event, Envelope], Awaitable[None]]


class FollowEdges:
    """A reader of events in every copy of the gateway: all write the same, and each tells its own open pages."""

    def __init__(
        self, log: EdgeLog, echoes: EchoStore, usage: UsageStore, live: LiveHub, clock: Clock = utc_now
    ) -> None:
        self._log = log
        self._echoes = echoes
        self._usage = usage
        self._live = live
        self._clock = clock

    async def __call__(self, event: Event, envelope: Envelope) -> None:
        """Keep the event, then tell the pages of those who run that hospital."""
        now = self._clock()
        if isinstance(event, StorageMeasured):
            await self._usage.measured(event)
        elif isinstance(event, StudyAvailable):
            await self._log.announced(envelope.speaker, now)
        elif isinstance(event, EdgeHeartbeat):
            await self._log.heard(envelope.speaker, event, now)
            if event.sequence % 6 == 0:
                await self._usage.spooled(envelope.speaker, event.spool_bytes, now)
            await self._live.publish(EdgeSpoke(envelope.speaker))
        elif isinstance(event, EchoAnswered):
            await self._echoes.answer(envelope.speaker, event)
            await self._live.publish(EdgeSpoke(envelope.speaker))


def both(first: Reader, second: Reader) -> Reader:
    """One reader of two: the second reads also what the first could not."""

    async def read(event: Event, envelope: Envelope) -> None:
        try:
            await first(event, envelope)
        finally:
            await second(event, envelope)

    return read
