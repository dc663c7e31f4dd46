"""Store instances: check each, stage the good ones as one batch per study, tell Kafka, and only then answer."""

import asyncio
import mmap
from collections import defaultdict
from pathlib import Path

from prometheus_client import Counter

from dicom_ingest.model import Accepted, Refused, Sender, failure_reason
from imaging_common.audit import AuditTrail
from imaging_common.dicom import RejectedInstance, check_instance
from imaging_common.events import InstancesReceived
from imaging_common.messaging import EventPublisher
from imaging_common.objects.manifest import write_manifest
from imaging_common.objects.model import (
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
RECEIVED = Counter("imaging_ingest_instances", "Instances that arrived", ["outcome"])
BYTES = Counter("imaging_ingest_bytes", "Bytes staged")
log = get_logger(__name__)


class StoreInstances:
    """The use case behind STOW-RS and C-STORE."""

    def __init__(self, store: ObjectStore, publisher: EventPublisher, audit: AuditTrail) -> None:
        self._store = store
        self._publisher = publisher
        self._audit = audit

    async def __call__(
        self, sender: Sender, file: Path, parts: list[tuple[int, int]], study_uid: str | None
    ) -> tuple[list[Accepted], list[Refused]]:
        """Store the Part 10 files that lie at `parts` (offset, length) of `file`.

        On return the accepted ones are in MinIO and Kafka has their event.

        Raises
        ------
        RetryableError
            MinIO or Kafka is away: nothing is known to be stored, the sender sends again.
        """
        accepted, refused = await asyncio.to_thread(check_parts, file, parts, study_uid)
        studies: dict[str, list[Accepted]] = defaultdict(list)
        for entry in accepted:
            studies[entry.instance.study_uid].append(entry)
        for study, entries in studies.items():
            await self._stage(sender, study, entries, file, whole=len(entries) == len(parts))
        RECEIVED.labels("stored").inc(len(accepted))
        RECEIVED.labels("refused").inc(len(refused))
        for entry_refused in refused:
            log.warning("instance refused", hospital=sender.hospital, reason=entry_refused.text)
        return accepted, refused

    async def _stage(self, sender: Sender, study_uid: str, entries: list[Accepted], file: Path, *, whole: bool) -> None:
        digests = [entry.instance.sha256 for entry in entries]
        batch_id = collection_id(digests)
        data_key = batch_key(sender.hospital, study_uid, batch_id)
        instances, size = lay_out(entries)
        if whole:
            await self._store.put(STAGING_BUCKET, data_key, file)
        else:
            picked = await asyncio.to_thread(pick, file, entries)
            try:
                await self._store.put(STAGING_BUCKET, data_key, picked)
            finally:
                picked.unlink(missing_ok=True)
        manifest = Manifest(
            kind="batch",
            hospital=sender.hospital,
            study_uid=study_uid,
            id=batch_id,
            data_key=data_key,
            instances=instances,
            has_edge=sender.has_edge,
            traceparent=current_traceparent(),
        )
        await write_manifest(self._store, STAGING_BUCKET, manifest)
        event = InstancesReceived(
            hospital=sender.hospital,
            study_uid=study_uid,
            batch_id=batch_id,
            manifest_key=manifest_key(data_key),
            instance_count=len(instances),
            byte_count=size,
            has_edge=sender.has_edge,
        )
        await self._audit.record(
            action="store",
            outcome="success",
            user=sender.principal,
            hospital=sender.hospital,
            study_uid=study_uid,
            holder=sender.hospital,
            count=len(instances),
            audit_id=f"store-{batch_id}",
        )
        await self._publisher.publish(TOPIC, event, study_uid)
        BYTES.inc(size)
        log.info("batch staged", hospital=sender.hospital, instances=len(instances), bytes=size)


def check_parts(
    file: Path, parts: list[tuple[int, int]], study_uid: str | None
) -> tuple[list[Accepted], list[Refused]]:
    """Pass every part through the gate; a repetition within the request counts once. Blocking."""
    accepted: list[Accepted] = []
    refused: list[Refused] = []
    seen: set[tuple[str, str]] = set()
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for offset, length in parts:
            view = memoryview(data)[offset : offset + length]
            try:
                instance = check_instance(view)
            except RejectedInstance as error:
                refused.append(Refused("", "", failure_reason(error.reason_code), str(error)))
                continue
            finally:
                view.release()
            if study_uid is not None and instance.study_uid != study_uid:
                text = "study-mismatch: the instance belongs to another study than the request names"
                refused.append(
                    Refused(instance.sop_class_uid, instance.sop_instance_uid, failure_reason("mismatch"), text)
                )
            elif (instance.sop_instance_uid, instance.sha256) not in seen:
                seen.add((instance.sop_instance_uid, instance.sha256))
                accepted.append(Accepted(instance, offset))
    return accepted, refused


def lay_out(entries: list[Accepted]) -> tuple[list[StoredInstance], int]:
    """The batch's entries one after the other, and its size in bytes."""
    instances, position = [], 0
    for entry in entries:
        instances.append(entry.instance.stored(position))
        position += entry.instance.length
    return instances, position


def pick(file: Path, entries: list[Accepted]) -> Path:
    """A file beside `file` that holds only these entries. Blocking."""
    target = file.with_name(f"{file.name}.{entries[0].instance.sha256[:16]}")
    with file.open("rb") as source, target.open("wb") as out:
        for entry in entries:
            source.seek(entry.offset)
            left = entry.instance.length
            while left:
                piece = source.read(min(left, 1024 * 1024))
                out.write(piece)
                left -= len(piece)
    return target
