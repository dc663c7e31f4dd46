"""Store instances: check each, stage the good ones as one batch per study, tell Kafka, and only then answer."""

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Literal

from prometheus_client import Counter

from dicom_ingest.model import Accepted, Outcome, Received, Refused, Sender
from dicom_ingest.usecases.check_parts import check_parts
from imaging_common.audit import AuditTrail
from imaging_common.events import InstancesReceived
from imaging_common.messaging import EventPublisher
from imaging_common.objects.manifest import write_manifest
from imaging_common.objects.model import (
    CACHE_BUCKET,
    STAGING_BUCKET,
    Manifest,
    StoredInstance,
    batch_key,
    collection_id,
    manifest_key,
)
from imaging_common.objects.store import ObjectStore
from imaging_common.telemetry import current_traceparent, get_logger

TOPIC = "instances-received"
COPY_BYTES = 1024 * 1024
RECEIVED = Counter("imaging_ingest_instances", "Instances that arrived", ["hospital", "outcome"])
BYTES = Counter("imaging_ingest_bytes", "Bytes stored", ["hospital", "bucket"])
log = get_logger(__name__)


class StoreInstances:
    """The use case behind STOW-RS and C-STORE."""

    def __init__(self, store: ObjectStore, publisher: EventPublisher, audit: AuditTrail) -> None:
        self._store = store
        self._publisher = publisher
        self._audit = audit

    async def __call__(
        self,
        sender: Sender,
        file: Received,
        parts: list[tuple[int, int]],
        study_uid: str | None,
        retrieval_id: str | None = None,
    ) -> list[Outcome]:
        """Store the Part 10 files that lie at `parts` (offset, length) of `file`; one outcome per part.

        On return the accepted ones are in MinIO and Kafka has their event and the audit record.

        Parameters
        ----------
        retrieval_id
            The retrieval that brought them: they are copies of what a PACS keeps and go to the cache tier.

        Raises
        ------
        RetryableError
            MinIO or Kafka is away: nothing is known to be stored, the sender sends again.
        """
        outcomes = [sender.judged(one) for one in await asyncio.to_thread(check_parts, file, parts, study_uid)]
        studies: dict[str, dict[tuple[str, str], Accepted]] = defaultdict(dict)
        for outcome in outcomes:
            if isinstance(outcome, Accepted):
                instance = outcome.instance
                studies[instance.study_uid].setdefault((instance.sop_instance_uid, instance.sha256), outcome)
        for study, entries in studies.items():
            data = file if len(entries) == len(parts) else await asyncio.to_thread(pick, file, list(entries.values()))
            try:
                await self._stage(sender, study, list(entries.values()), data, retrieval_id)
            finally:
                if isinstance(data, Path) and data != file:
                    data.unlink(missing_ok=True)
        self._count(sender, outcomes)
        return outcomes

    async def _stage(
        self, sender: Sender, study_uid: str, entries: list[Accepted], data: Received, retrieval_id: str | None
    ) -> None:
        bucket: Literal["staging", "cache"] = CACHE_BUCKET if retrieval_id else STAGING_BUCKET
        names = [retrieval_id] if retrieval_id else []
        batch_id = collection_id(names + [entry.instance.sha256 for entry in entries])
        data_key = batch_key(sender.hospital, study_uid, batch_id)
        instances = lay_out(entries)
        size = sum(instance.length for instance in instances)
        await self._store.put(bucket, data_key, data)
        manifest = Manifest(
            kind="batch",
            bucket=bucket,
            hospital=sender.hospital,
            study_uid=study_uid,
            id=batch_id,
            data_key=data_key,
            instances=instances,
            has_edge=sender.has_edge,
            traceparent=current_traceparent(),
        )
        await write_manifest(self._store, bucket, manifest)
        event = InstancesReceived(
            hospital=sender.hospital,
            study_uid=study_uid,
            batch_id=batch_id,
            manifest_key=manifest_key(data_key),
            instance_count=len(instances),
            byte_count=size,
            has_edge=sender.has_edge,
            bucket=bucket,
            retrieval_id=retrieval_id,
        )
        action: Literal["store", "retrieve"] = "retrieve" if retrieval_id else "store"
        await asyncio.gather(
            self._publisher.publish(TOPIC, event, study_uid),
            self._record(action, sender, study_uid, batch_id, len(instances)),
        )
        BYTES.labels(sender.hospital, bucket).inc(size)
        log.info("batch stored", bucket=bucket, hospital=sender.hospital, instances=len(instances), bytes=size)

    async def _record(
        self, action: Literal["store", "retrieve"], sender: Sender, study_uid: str, batch_id: str, count: int
    ) -> None:
        await self._audit.record(
            action=action,
            outcome="success",
            **sender.audited(),
            study_uid=study_uid,
            holder=sender.hospital,
            count=count,
            audit_id=f"{action}-{sender.hospital}-{batch_id}",
        )

    def _count(self, sender: Sender, outcomes: list[Outcome]) -> None:
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        RECEIVED.labels(sender.hospital, "stored").inc(len(outcomes) - len(refused))
        for outcome in refused:
            RECEIVED.labels(sender.hospital, outcome.reason_code).inc()
            log.warning("instance refused", hospital=sender.hospital, reason=outcome.reason_code)


def lay_out(entries: list[Accepted]) -> list[StoredInstance]:
    """The batch's entries one after the other."""
    instances, position = [], 0
    for entry in entries:
        instances.append(entry.instance.stored(position))
        position += entry.instance.length
    return instances


def pick(file: Received, entries: list[Accepted]) -> Received:
    """Only these entries; of a file a file beside it. Blocking."""
    if isinstance(file, bytes):
        return b"".join(file[entry.offset : entry.offset + entry.instance.length] for entry in entries)
    target = file.with_name(f"{file.name}.{entries[0].instance.sha256[:16]}")
    with file.open("rb") as source, target.open("wb") as out:
        for entry in entries:
            source.seek(entry.offset)
            left = entry.instance.length
            while left:
                piece = source.read(min(left, COPY_BYTES))
                out.write(piece)
                left -= len(piece)
    return target
