"""The EHR's subscription: a plain Kafka consumer of its own topic; pages of the resident concerned are told."""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from imaging_common.events import PatientLinked
from imaging_common.messaging.connection import client_options
from imaging_native.ehr_standin.settings import EhrSettings

_log = structlog.get_logger(__name__)
LINKED_TOPIC = "patient-linked"
WAITING = 20


class Subscription:
    """Reads from now on, in no group: what was before is asked for by FHIR."""

    def __init__(self, settings: EhrSettings) -> None:
        self._settings = settings
        self._pages: dict[str, set[asyncio.Queue[str]]] = defaultdict(set)
        self._residents_of: dict[str, set[str]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self.seen = 0
        """Events so far."""

    async def start(self) -> None:
        """Begin to read."""
        topic = f"ehr-{self._settings.organisation}-events"
        consumer = AIOKafkaConsumer(topic, **client_options(self._settings, "ehr-standin"), auto_offset_reset="latest")
        await consumer.start()
        self._task = asyncio.create_task(self._read(consumer))

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def knows(self, resident_id: str, study_uids: list[str]) -> None:
        """Note whose studies these are: a report's event names only the study."""
        for uid in study_uids:
            self._residents_of[uid].add(resident_id)

    @contextlib.asynccontextmanager
    async def page(self, resident_id: str) -> AsyncIterator[asyncio.Queue[str]]:
        """The names of the events that concern a resident, for one open page."""
        queue: asyncio.Queue[str] = asyncio.Queue(WAITING)
        self._pages[resident_id].add(queue)
        try:
            yield queue
        finally:
            self._pages[resident_id].discard(queue)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        try:
            while True:
                try:
                    record = await consumer.getone()
                except KafkaError as error:
                    _log.warning("subscription-away", error=type(error).__name__)
                    await asyncio.sleep(1)
                    continue
                self.seen += 1
                kind = dict(record.headers).get("ce_type", b"").decode()
                with contextlib.suppress(ValueError):
                    self._tell(kind, json.loads(record.value))
        finally:
            await consumer.stop()

    def _tell(self, kind: str, event: dict[str, Any]) -> None:
        uids = [event["study_uid"]] if "study_uid" in event else [s["study_uid"] for s in event.get("studies", [])]
        residents = set().union(*(self._residents_of[uid] for uid in uids)) if uids else set()
        if resident := event.get("resident_id"):
            self.knows(resident, uids)
            residents.add(resident)
        for one in residents:
            for queue in self._pages.get(one, ()):
                with contextlib.suppress(asyncio.QueueFull):
                    queue.put_nowait(kind)


async def link_patient(settings: EhrSettings, hospital: str, patient_id: str, resident_id: str, revision: int) -> None:
    """Say that this patient of a hospital is this resident: the EHR's word, as CloudEvents over Kafka."""
    event = PatientLinked(hospital=hospital, patient_id=patient_id, resident_id=resident_id, revision=revision)
    headers = {
        "ce_specversion": "1.0", "ce_id": uuid4().hex, "ce_type": event.type_name(),
        "ce_source": f"/ehr/{settings.organisation}", "ce_time": datetime.now(UTC).isoformat(),
        "content-type": "application/json",
    }  # fmt: skip
    producer = AIOKafkaProducer(**client_options(settings, "ehr-standin"), acks="all", enable_idempotence=True)
    await producer.start()
    try:
        encoded = [(name, text.encode()) for name, text in headers.items()]
        value = event.model_dump_json().encode()
        await producer.send_and_wait(LINKED_TOPIC, value=value, key=patient_id.encode(), headers=encoded)
    finally:
        await producer.stop()
