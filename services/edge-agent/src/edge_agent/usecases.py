"""What the edge agent does besides receiving: send batches, announce studies, take receipts, say that it lives."""

import asyncio
import contextlib
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from prometheus_client import Gauge

from edge_agent.adapters.journal import Journal
from edge_agent.errors import CentreUnavailable
from edge_agent.model import SpooledInstance, cut_batches
from edge_agent.ports import Centre
from edge_agent.settings import Settings
from imaging_common.errors import RetryableError
from imaging_common.events import BatchStored, EdgeHeartbeat, StudyAvailable
from imaging_common.messaging import EventPublisher
from imaging_common.telemetry import attached, get_logger, get_tracer, link_to

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 30.0
POLL_SECONDS = 0.2
BACKLOG = Gauge("imaging_edge_backlog_bytes", "Bytes acknowledged to senders but not stored in the centre")
log = get_logger(__name__)
tracer = get_tracer(__name__)


class EdgeAgent:
    """The agent's background work; each loop survives what it can retry."""

    def __init__(self, settings: Settings, journal: Journal, centre: Centre, publisher: EventPublisher) -> None:
        self._settings = settings
        self._journal = journal
        self._centre = centre
        self._publisher = publisher
        self._topic = f"edge-events-{settings.hospital}"
        self._sending: set[str] = set()
        self._heartbeats = 0

    async def run(self) -> None:
        """Run all loops until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(POLL_SECONDS, self.announce_studies))
            group.create_task(self._every(self._settings.heartbeat_seconds, self.send_heartbeat))
            for _ in range(self._settings.uploads):
                group.create_task(self._send_forever())

    async def _every(self, seconds: float, step: Any) -> None:
        while True:
            try:
                await step()
            except RetryableError as error:
                log.warning("will try again", step=step.__name__, reason=str(error))
            await asyncio.sleep(seconds)

    async def _send_forever(self) -> None:
        delay = FIRST_DELAY_SECONDS
        while True:
            study_uid = next((s for s in self._journal.studies_to_send() if s not in self._sending), None)
            if study_uid is None:
                await asyncio.sleep(POLL_SECONDS)
                continue
            self._sending.add(study_uid)
            try:
                await self.send_batch(study_uid)
                delay = FIRST_DELAY_SECONDS
            except CentreUnavailable as error:
                log.warning("batch not sent, will try again", reason=str(error), delay_seconds=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY_SECONDS)
            finally:
                self._sending.discard(study_uid)

    async def send_batch(self, study_uid: str) -> None:
        """Send the study's next batch. Its span continues the first instance's trace and links the others."""
        batches = cut_batches(
            self._journal.to_send(study_uid),
            first=not self._journal.anything_sent(study_uid),
            first_instances=self._settings.first_batch_instances,
            batch_bytes=self._settings.batch_bytes,
        )
        if not batches:
            return
        batch = batches[0]
        with attached(batch[0].traceparent), tracer.start_as_current_span("send batch", links=_links(batch)) as span:
            span.set_attribute("imaging.instances", len(batch))
            refused = await self._centre.store(study_uid, batch)
        self._journal.mark_sent(batch, refused)
        for uid, reason in refused.items():
            log.error("the centre refused an instance", sop_instance_uid=uid, reason=reason)

    async def announce_studies(self) -> None:
        """Announce every study that is quiet: `StudyAvailable` with its manifest and version."""
        self._journal.open_announcements(self._settings.quiet_seconds)
        for study_uid, announcement, manifest in self._journal.unpublished():
            event = StudyAvailable(
                study_uid=study_uid,
                announcement=announcement,
                basis="quiet",
                instances=manifest,
                announced_at=datetime.now(UTC),
            )
            await self._publisher.publish(self._topic, event, study_uid)
            self._journal.mark_published(study_uid, announcement)

    async def take_receipt(self, receipt: BatchStored) -> None:
        """The archive has these instances: their copies move to the ring, whose oldest go when it is full."""
        if receipt.hospital != self._settings.hospital:
            log.error("a receipt for another hospital was passed over", hospital=receipt.hospital)
            return
        self._journal.mark_stored(receipt.study_uid, receipt.instances)
        await asyncio.to_thread(self._trim_ring)

    def _trim_ring(self) -> None:
        overflow = self._journal.ring_overflow(self._settings.ring_bytes)
        for _, path in overflow:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        self._journal.mark_removed([number for number, _ in overflow])

    async def send_heartbeat(self) -> None:
        """Say that the agent lives, with its backlog."""
        backlog = self._journal.backlog()
        BACKLOG.set(backlog.bytes)
        self._heartbeats += 1
        event = EdgeHeartbeat(
            sequence=self._heartbeats,
            backlog_instances=backlog.instances,
            backlog_bytes=backlog.bytes,
            spool_bytes=backlog.spool_bytes,
            spool_limit_bytes=self._settings.spool_limit_bytes,
            agent_version=version("imaging-edge-agent"),
            sent_at=datetime.now(UTC),
        )
        await self._publisher.publish(self._topic, event, "")


def _links(batch: list[SpooledInstance]) -> list[Any]:
    links = (link_to(i.traceparent) for i in batch[1:] if i.traceparent != batch[0].traceparent)
    return [link for link in links if link is not None]
