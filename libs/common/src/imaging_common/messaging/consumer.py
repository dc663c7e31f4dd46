"""The one middleware around every handler: bounded retry, then dead letter (awaited), then commit, from the raw record.

Whatever fails before the handler, FastStream's own parsing included, ends in `__aexit__` too, so nothing vanishes.
"""

import asyncio
import time
from types import TracebackType
from typing import Any

import structlog
from faststream import BaseMiddleware

from imaging_common.errors import BadMessage, ImagingError
from imaging_common.messaging.settlement import Consumer, Settlement, type_of
from imaging_common.telemetry.logs import place_of
from imaging_common.telemetry.metrics import HANDLER_SECONDS, MESSAGE_AGE_SECONDS, MESSAGES_FAILED, MESSAGES_HANDLED

_log = structlog.get_logger(__name__)


class HandlerCrashed(Exception):
    """A handler was ended by a cancellation or exit of its own making, not by the service's stop."""


class StepAside(Exception):
    """The record is to be tried again later; its partition waits, the others go on."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again in {seconds:g} s")
        self.seconds = seconds


class SettleMiddleware(BaseMiddleware[Any, Any]):
    """See the module. FastStream makes one per record."""

    def __init__(self, msg: Any, /, *, context: Any, settlement: Settlement) -> None:
        super().__init__(msg, context=context)
        self._settlement = settlement
        self._tries = settlement.tries(msg)
        self._entered = False

    async def consume_scope(self, call_next: Any, msg: Any) -> Any:
        """Call the handler until it succeeds, the policy gives up, or the wait is so long that others should go on."""
        policy, tries = self._settlement.policy, self._tries
        self._entered = True
        while True:
            tries.attempts += 1
            try:
                return await _call(call_next, msg)
            except Exception as error:
                kind = type_of(self.msg)
                MESSAGES_FAILED.labels(topic=self.msg.topic, type=kind, error=type(error).__name__).inc()
                if policy.gives_up(error, tries.attempts, tries.elapsed):
                    raise
                delay = policy.delay(tries.attempts)
                _log.warning(
                    "message-failed",
                    topic=self.msg.topic,
                    type=kind,
                    partition=self.msg.partition,
                    offset=self.msg.offset,
                    attempt=tries.attempts,
                    again_in=delay,
                    error=type(error).__name__,
                    text=str(error) if isinstance(error, ImagingError) else place_of(error),
                )
                if delay > policy.patience:
                    raise StepAside(delay) from error
                await asyncio.sleep(delay)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> bool | None:
        """Dead-letter what failed, then commit. Nothing is committed when the service is being stopped."""
        if exc_val is not None and not isinstance(exc_val, Exception):
            return False
        record, settlement = self.msg, self._settlement
        consumer: Consumer = self.context.get_local("handler_").consumer
        if isinstance(exc_val, StepAside):
            settlement.stand_still(consumer, record, exc_val.seconds)
            return True
        if exc_val is not None:
            error = exc_val if self._entered else self._before_handler(exc_val)
            if not await settlement.dead_letter(consumer, record, error, self._tries.attempts):
                return True
        else:
            MESSAGES_HANDLED.labels(topic=record.topic, type=type_of(record)).inc()
            age = max(0.0, time.time() - record.timestamp / 1000)
            MESSAGE_AGE_SECONDS.labels(topic=record.topic, type=type_of(record)).observe(age)
        HANDLER_SECONDS.labels(topic=record.topic, type=type_of(record)).observe(self._tries.elapsed)
        settlement.settle(consumer, record)
        return True

    def _before_handler(self, error: Exception) -> Exception:
        """What was wrong with a record that FastStream's parser gave up on."""
        try:
            self._settlement.understand(self.msg)
        except BadMessage as bad:
            return bad
        return error


async def _call(call_next: Any, msg: Any) -> Any:
    try:
        return await call_next(msg)
    except (asyncio.CancelledError, SystemExit) as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        raise HandlerCrashed(type(error).__name__) from error
