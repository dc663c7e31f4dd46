"""Keeps an anchor every hour while the service runs; several copies keep one together."""

import asyncio
import contextlib
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter, Gauge

from audit.ports import AnchorVault, RecordStore
from audit.usecases import anchor_heads

_log = structlog.get_logger(__name__)
RETRY_SECONDS = 30.0
EMPTY_SECONDS = 5.0
"""Between two looks at a record in which nothing is yet."""
ANCHORED_AT = Gauge(
    "imaging_audit_anchored_timestamp_seconds",
    "Unix time when all there was to anchor was last kept outside the database.",
)
FAILURES = Counter("imaging_audit_anchor_failures", "Attempts to keep an anchor that failed and come again")


class Anchoring:
    """A task with a beginning and an end."""

    def __init__(self, store: RecordStore, vault: AnchorVault, interval_seconds: float) -> None:
        self._store = store
        self._vault = vault
        self._interval = interval_seconds
        self._task: asyncio.Task[None] | None = None
        self.state = "nothing anchored yet"
        """For `/health/ready`: when the last anchor was kept, or why none."""

    async def start(self) -> None:
        """Keep the first anchor as soon as there is a record, then one an interval."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; the last records wait for the next start's anchor."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            now = datetime.now(UTC)
            try:
                if await anchor_heads(self._store, self._vault, now, self._interval) is None:
                    pause = EMPTY_SECONDS
                else:
                    self.state = f"anchored at {now:%Y-%m-%d %H:%M} UTC"
                    pause = self._interval - now.timestamp() % self._interval
                ANCHORED_AT.set(now.timestamp())
            except Exception as error:
                # Whatever it is, anchoring goes on: a task that ended unseen would leave the chains without proof.
                FAILURES.inc()
                _log.error("not-anchored", error=type(error).__name__)
                self.state = f"not anchored since {now:%Y-%m-%d %H:%M} UTC: {type(error).__name__}"
                pause = RETRY_SECONDS
            await asyncio.sleep(pause)
