"""No record, no look: while a real outbox takes nothing a study stays shut; then it opens, once recorded."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from gateway.dicomweb.access import StudyDoor
from imaging_common.access import Subject
from imaging_common.audit import AuditTrail
from imaging_common.errors import PublishFailed
from imaging_common.events import AuditRecorded
from imaging_common.index.fake import FakeIndexReader
from imaging_common.messaging.outbox import Outbox
from imaging_common.messaging.outbox_publisher import OutboxPublisher
from imaging_native.region import Region

DOCTOR = Subject("doctor.community", "community", frozenset({"doctor"}), session="s-1")


@pytest.fixture
async def database(servers: Region) -> AsyncIterator[Any]:
    client, name = servers.client("root"), f"refused_{uuid4().hex[:8]}"
    yield client[name]
    await client.drop_database(name)


async def test_study_stays_shut_while_the_outbox_refuses_its_record(database: Any) -> None:
    reader = FakeIndexReader()
    reader.put(
        "studies",
        {
            "_id": "community/1.2.3", "study_uid": "1.2.3", "holder": "community", "tier": "central",
            "version": {"epoch": 0, "n": 1}, "study_date": "20261120", "study_time": "", "accession": "",
            "description": "", "modalities": ["CT"], "body_parts": [], "series_count": 1, "instance_count": 1,
            "updated_at": datetime.now(UTC), "settled": True, "stored": False, "rejected": [],
            "patient": {"id": "P", "issuer": "", "name": {}, "birth_date": "", "sex": ""},
        },
    )  # fmt: skip
    door = StudyDoor(reader.index(), AuditTrail("gateway", OutboxPublisher(Outbox(database))))
    await database.create_collection("events", validator={"topic": "nothing"})
    for _ in range(2):
        with pytest.raises(PublishFailed):
            await door.open(DOCTOR, "1.2.3", None)
    assert await database["events"].count_documents({}) == 0
    await database.command("collMod", "events", validator={})
    for _ in range(3):
        assert (await door.open(DOCTOR, "1.2.3", None)).keys == ["community/1.2.3"]
    (written,) = await database["events"].find().to_list()
    record = AuditRecorded.model_validate_json(written["data"])
    assert (record.action, record.outcome, record.user, record.session) == (
        "view",
        "success",
        "doctor.community",
        "s-1",
    )
