"""Tells how far retrievals are: now and then straight to Kafka, where it may be lost; at the end through the outbox."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from edge_agent.retrievals import Work
from imaging_common.errors import ImagingError
from imaging_common.events import Event, RetrieveFailed, RetrieveProgressed
from imaging_common.events.edge import RetrieveReason
from imaging_common.messaging import EventPublisher
from imaging_common.telemetry import attached, get_logger

_log = get_logger(__name__)
INTERVAL_SECONDS = 0.5
MISSING_NAMED = 64


class ProgressTeller:
    """One per agent. `relay` tells that the outbox has something."""

    def __init__(self, hospital: str, publisher: EventPublisher, relay: Callable[[], None]) -> None:
        self.topic = f"edge-events-{hospital}"
        self.relay = relay
        self._publisher = publisher
        self._told: dict[str, tuple[float, tuple[int, int]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, work: Work, now: float) -> float:
        """Tell if there is news and the last time is long enough ago; when to look again (monotonic)."""
        if work.wanted is None:
            return now + 60
        last, figures = self._told.get(work.retrieval.retrieval_id, (now - INTERVAL_SECONDS, None))
        news = (len(work.wanted), len(work.done))
        if news == figures:
            return now + 60
        if now - last < INTERVAL_SECONDS:
            return last + INTERVAL_SECONDS
        self._told[work.retrieval.retrieval_id] = (now, news)
        with attached(work.retrieval.traceparent):
            task = asyncio.create_task(self._publish(work.retrieval.study_uid, progress_of(work, "running")))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return now + 60

    def forget(self, work: Work) -> None:
        """It has ended."""
        self._told.pop(work.retrieval.retrieval_id, None)

    async def _publish(self, study_uid: str, event: Event) -> None:
        try:
            await self._publisher.publish(self.topic, event, study_uid)
        except ImagingError as error:
            _log.warning("progress-not-told", error=str(error))


def progress_of(work: Work, state: Literal["running", "done"]) -> RetrieveProgressed:
    """The event for how far it is."""
    wanted = work.wanted or []
    lengths = [work.done[one.sop_instance_uid] for one in wanted if one.sop_instance_uid in work.done]
    return RetrieveProgressed(
        retrieval_id=work.retrieval.retrieval_id,
        study_uid=work.retrieval.study_uid,
        state=state,
        instances_total=len(wanted),
        instances_done=len(lengths),
        bytes_done=sum(lengths),
        missing=list(work.missing)[:MISSING_NAMED] if state == "done" else [],
        at=datetime.now(UTC),
    )


def ending_of(work: Work) -> tuple[str, Event]:
    """How it ended: the journal's word, and the event. Some that the PACS does not give are `done` with `missing`."""
    done = work.done_of_wanted
    reason: RetrieveReason | None = work.failure
    if reason is None and not done:
        reason = next(iter(work.missing.values()), None if work.done else "study-gone")
    if reason is None:
        return "done", progress_of(work, "done")
    return "failed", RetrieveFailed(
        retrieval_id=work.retrieval.retrieval_id,
        study_uid=work.retrieval.study_uid,
        reason=reason,
        instances_done=done,
        instances_missing=max(len(work.wanted or ()) - done, len(work.missing)),
        at=datetime.now(UTC),
    )
