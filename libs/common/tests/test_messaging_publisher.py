"""The publisher's deadline, and that no producer outlives a failed send."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumber

from imaging_common.errors import PublishFailed, RejectedError
from imaging_common.events import StudyOpened
from imaging_common.messaging import KafkaPublisher, publisher
from imaging_common.settings import ServiceSettings
from imaging_common.telemetry import attached

OPENED = StudyOpened(study_uid="1.2.3", holder="community", opened_at=datetime(2026, 11, 24, tzinfo=UTC))
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class FakeProducer:
    """Fails as the first of `failures` says; a `None` means that it works, `hang` that it never answers."""

    made: list["FakeProducer"] = []
    failures: list[Any] = []

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.stopped = False
        self.sent: list[tuple[str, dict[str, bytes]]] = []
        FakeProducer.made.append(self)

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        self.stopped = True

    async def send_and_wait(self, topic: str, value: bytes, key: bytes | None, headers: Any) -> None:
        failure = FakeProducer.failures.pop(0) if FakeProducer.failures else None
        if failure == "hang":
            await asyncio.Event().wait()
        if failure is not None:
            raise failure
        self.sent.append((topic, dict(headers)))


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., KafkaPublisher]:
    monkeypatch.setattr(publisher, "AIOKafkaProducer", FakeProducer)
    FakeProducer.made, FakeProducer.failures = [], []

    def build(*failures: Any) -> KafkaPublisher:
        FakeProducer.failures = list(failures)
        return KafkaPublisher("gateway", ServiceSettings(), deadline=0.05)

    return build


@pytest.mark.parametrize("failure", ["hang", OutOfOrderSequenceNumber(), KafkaError("away")])
async def test_next_publication_has_a_new_producer_when_one_failed(
    make: Callable[..., KafkaPublisher], failure: Any
) -> None:
    kafka = make(failure, None)
    with pytest.raises(PublishFailed):
        await kafka.publish("study-used", OPENED, "1.2.3")
    await kafka.publish("study-used", OPENED, "1.2.3")
    await kafka.publish("study-used", OPENED, "1.2.3")
    await kafka.stop()
    assert [len(producer.sent) for producer in FakeProducer.made] == [0, 2]
    assert all(producer.stopped for producer in FakeProducer.made)


async def test_producer_is_kept_when_the_record_was_at_fault(make: Callable[..., KafkaPublisher]) -> None:
    kafka = make(MessageSizeTooLargeError())
    with pytest.raises(RejectedError):
        await kafka.publish("study-used", OPENED, "1.2.3")
    await kafka.publish("study-used", OPENED, "1.2.3")
    await kafka.stop()
    assert len(FakeProducer.made) == 1


async def test_producer_waits_for_all_replicas_and_is_idempotent(make: Callable[..., KafkaPublisher]) -> None:
    kafka = make()
    await kafka.start()
    await kafka.stop()
    options = FakeProducer.made[0].options
    assert (options["acks"], options["enable_idempotence"]) == ("all", True)


async def test_event_carries_its_id_and_the_trace_it_belongs_to(make: Callable[..., KafkaPublisher]) -> None:
    kafka = make()
    with attached(None):
        await kafka.publish("study-used", OPENED, "1.2.3", traceparent=TRACEPARENT, event_id="id-1")
    await kafka.stop()
    _, headers = FakeProducer.made[0].sent[0]
    assert headers["ce_id"] == b"id-1"
    assert headers["traceparent"].decode().split("-")[1] == TRACEPARENT.split("-")[1]
