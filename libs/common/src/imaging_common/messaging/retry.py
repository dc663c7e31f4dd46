"""How often a message is tried, which failures mean that a dependency is away, and how many may be dead-lettered."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pymongo.errors

from imaging_common.errors import RejectedError, RetryableError

DEPENDENCY_AWAY: tuple[type[Exception], ...] = (
    RetryableError,
    TimeoutError,
    ConnectionError,
    httpx.TransportError,
    pymongo.errors.ConnectionFailure,
    pymongo.errors.ExecutionTimeout,
)
"""Failures of what a handler needs, not of the message."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of retrying one message.

    A handler that crashes gets `crash_attempts`; one whose dependency is away is tried for `away_seconds`, so that a
    restart of MongoDB or MinIO costs time and no message.
    """

    crash_attempts: int = 4
    away_seconds: float = 180.0
    first_delay: float = 0.2
    factor: float = 2.0
    longest_delay: float = 10.0
    patience: float = 1.0
    """A longer wait than this is not spent in the handler's turn: the partition waits, all others go on."""

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the failed attempt number `attempt` (1, 2, …)."""
        return min(self.longest_delay, self.first_delay * self.factor ** min(attempt - 1, 30))

    def gives_up(self, error: Exception, attempt: int, elapsed: float) -> bool:
        """Whether the message goes to the dead letter after this failure."""
        if isinstance(error, RejectedError):
            return True
        if isinstance(error, DEPENDENCY_AWAY):
            return elapsed + self.delay(attempt) > self.away_seconds
        return attempt >= self.crash_attempts


@dataclass(slots=True)
class DeadLetterLimit:
    """A bucket of dead letters per topic: `burst` at once, then one each `refill_seconds`.

    A bad deploy that fails on every message empties the bucket, not the topic: the partition then waits, the service
    reports itself not ready, and the next deploy finds the messages where they were.
    """

    burst: int = 50
    refill_seconds: float = 30.0
    clock: Callable[[], float] = time.monotonic
    _levels: dict[str, tuple[float, float]] = field(default_factory=dict)

    def wait(self, topic: str) -> float:
        """Take one; return 0, or the seconds until one can be taken (none is taken then)."""
        now = self.clock()
        level, since = self._levels.get(topic, (float(self.burst), now))
        level = min(float(self.burst), level + (now - since) / self.refill_seconds)
        if level < 1.0:
            self._levels[topic] = (level, now)
            return (1.0 - level) * self.refill_seconds
        self._levels[topic] = (level - 1.0, now)
        return 0.0

    def give_back(self, topic: str) -> None:
        """The dead letter was not written after all."""
        level, since = self._levels[topic]
        self._levels[topic] = (level + 1.0, since)

    def exhausted(self) -> list[str]:
        """The topics that may not dead-letter anything at the moment."""
        now = self.clock()
        return [t for t, (level, since) in self._levels.items() if level + (now - since) / self.refill_seconds < 1.0]
