"""Store a hospital's report: read it, keep the original and what it says in the archive, tell Kafka, then answer."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from prometheus_client import Counter
from pydantic import ValidationError

from dicom_ingest.model import Sender
from imaging_common.audit import AuditTrail
from imaging_common.events import ReportReceived
from imaging_common.messaging import EventPublisher
from imaging_common.objects.model import ARCHIVE_BUCKET
from imaging_common.objects.ports import ObjectNotFound
from imaging_common.objects.reports import ReportManifest, report_key, report_manifest_key, report_object_key
from imaging_common.objects.store import ObjectStore
from imaging_common.reports import ParsedReport, UnreadableMessage
from imaging_common.reports.original import read_original
from imaging_common.telemetry import get_logger

TOPIC = "reports-received"
AT_ONCE = 4
"""Originals that are read at a time: a large one takes a multiple of its size in memory."""
REPORTS = Counter("imaging_ingest_reports", "Reports that arrived", ["kind", "outcome"])
log = get_logger(__name__)
Kind = Literal["hl7-oru", "fhir-diagnostic-report"]


class StoreReport:
    """The use case behind `POST /reports` and `POST /fhir/DiagnosticReport`."""

    def __init__(
        self,
        store: ObjectStore,
        publisher: EventPublisher,
        audit: AuditTrail,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._audit = audit
        self._now = now
        self._reading = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, sender: Sender, kind: Kind, data: bytes, media_type: str) -> list[ReportManifest]:
        """Store the reports in one original; on return they are in the archive and Kafka has their events.

        The same bytes again store nothing new and are told again.

        Raises
        ------
        UnreadableMessage
            The original cannot be read; nothing is stored.
        RetryableError
            MinIO or Kafka is away: nothing is known to be stored, the sender sends again.
        """
        try:
            async with self._reading:
                reports = await asyncio.to_thread(read_original, kind, data)
                digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        except UnreadableMessage as error:
            REPORTS.labels(kind, error.reason).inc()
            log.warning("report refused", hospital=sender.hospital, kind=kind, reason=error.reason)
            raise
        return [await self._keep(sender, kind, report, digest, data, media_type) for report in reports]

    async def _keep(
        self, sender: Sender, kind: Kind, report: ParsedReport, digest: str, data: bytes, media_type: str
    ) -> ReportManifest:
        key = report_key(sender.hospital, report.report_id)
        data_key = report_object_key(sender.hospital, key, digest)
        manifest = await self._known(report_manifest_key(data_key))
        if manifest is None:
            now = self._now()
            manifest = ReportManifest(
                hospital=sender.hospital,
                report_key=key,
                sha256=digest,
                data_key=data_key,
                kind=kind,
                media_type=media_type,
                received_at=now,
                issued_at=report.issued_at or now,
                **report.facts(),
            )
            await self._store.put(ARCHIVE_BUCKET, data_key, data)
            await self._store.put(ARCHIVE_BUCKET, report_manifest_key(data_key), manifest.model_dump_json().encode())
        event = ReportReceived(
            hospital=sender.hospital,
            report_key=key,
            sha256=digest,
            manifest_key=report_manifest_key(data_key),
            kind=kind,
            received_at=manifest.received_at,
        )
        await asyncio.gather(self._publisher.publish(TOPIC, event, key), self._record(sender, manifest))
        REPORTS.labels(kind, "stored").inc()
        log.info("report stored", hospital=sender.hospital, kind=kind, status=manifest.status)
        return manifest

    async def _known(self, key: str) -> ReportManifest | None:
        """What was written for these bytes before: a repeated post must not look like a newer one."""
        try:
            return ReportManifest.model_validate_json(await self._store.get(ARCHIVE_BUCKET, key))
        except (ObjectNotFound, ValidationError):
            return None

    async def _record(self, sender: Sender, manifest: ReportManifest) -> None:
        await self._audit.record(
            action="report",
            outcome="success",
            **sender.audited(),
            study_uid=manifest.study_uid,
            holder=sender.hospital,
            audit_id=f"report-{manifest.report_key}-{manifest.sha256[:32]}",
        )
