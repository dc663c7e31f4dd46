"""An order or an operator's command and its audit record are one write: on real MongoDB, in the gateway's outbox."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from gateway.adapters.orders import MongoCommands, MongoOrders
from gateway.model import Order
from imaging_common.audit import AuditTrail
from imaging_common.events import AuditRecorded, OrderPlaced
from imaging_common.messaging import FakePublisher
from imaging_common.messaging.outbox import Outbox
from imaging_native.region import Region

NOW = datetime(2030, 1, 15, 9, 30, tzinfo=UTC)
TRAIL = AuditTrail("gateway", FakePublisher())


@pytest.fixture
async def database(servers: Region) -> AsyncIterator[Any]:
    client, name = servers.client("root"), f"gateway_{uuid4().hex[:8]}"
    yield client[name]
    await client.drop_database(name)


async def told(database: Any) -> list[tuple[str, str]]:
    """What waits in the outbox: (topic, type)."""
    return [(one["topic"], one["type"]) async for one in database["events"].find().sort("$natural", 1)]


def record(action: Any) -> AuditRecorded:
    return TRAIL.event(action=action, outcome="success", user="doctor.community", hospital="community")


async def test_order_and_its_record_are_one_write(database: Any) -> None:
    book = MongoOrders(database, Outbox(database))
    placed = OrderPlaced(
        order_id="1", revision=1, accession="W1", patient_id="C-1", patient_name="Wang", modality="CT",
        scheduled_at=NOW, study_uid="2.25.1",
    )  # fmt: skip
    order = Order(hospital="community", placed_by="doctor.community", order=placed)
    written = [("edge-commands-community", "OrderPlaced"), ("audit-recorded", "AuditRecorded")]
    for _ in range(2):
        await book.place(order, record("order"))
        assert await told(database) == written, "the same order again changes nothing"
    assert await book.cancel("tcm", "1", record("order")) is None
    assert await told(database) == written
    assert await book.cancel("community", "1", record("order")) is not None
    assert await told(database) == [
        *written,
        ("edge-commands-community", "OrderCancelled"),
        ("audit-recorded", "AuditRecorded"),
    ]
    last = await database["events"].find_one({"topic": "audit-recorded", "n": 2})
    assert AuditRecorded.model_validate_json(last["data"]).study_uid == "2.25.1"


async def test_command_that_came_too_late_leaves_no_record(database: Any) -> None:
    book = MongoCommands(database, Outbox(database))
    before = await book.of("community", "1.2.3")
    assert await book.hold(before, held=True, user="operator", record=record("hold"))
    assert not await book.delete(before, reason="113001", user="operator", purge_after=NOW, record=record("delete"))
    assert await told(database) == [("study-commanded", "StudyHeld"), ("audit-recorded", "AuditRecorded")]
