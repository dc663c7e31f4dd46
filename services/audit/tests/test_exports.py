"""Every action in the words of DICOM (PS3.15 A.5) and FHIR R4B; nothing of a record is lost on the way."""

from datetime import UTC, datetime
from typing import Any, get_args
from xml.etree import ElementTree

import orjson
import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from audit.exports.dicom import audit_message
from audit.exports.fhir import audit_event
from audit.exports.kinds import KINDS, NAMES
from imaging_common.events import AuditRecorded
from imaging_common.events.people import AuditAction

ACTIONS = get_args(AuditAction)


def record(action: str, **more: Any) -> dict[str, Any]:
    fields = {
        "audit_id": "5e2a8c1f7d3b4960a1c2e3f405162738",
        "service": "gateway",
        "action": action,
        "outcome": "success",
        "user": "doctor.community",
        "hospital": "community",
        "roles": ["doctor"],
        "session": "s-1",
        "study_uid": "1.2.3",
        "holder": "tertiary",
        "resident_id": "R-1",
        "grant_id": "g-1",
        "purpose": "急诊 <抢救>",
        "consult_id": "c-1",
        "source": "ehr-residents",
        "at": datetime(2026, 11, 24, 8, tzinfo=UTC),
    }
    return AuditRecorded.model_validate(fields | more).model_dump(mode="json")


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_an_audit_message_and_an_audit_event(action: str) -> None:
    message = ElementTree.fromstring(audit_message(record(action)))
    event = message.find("EventIdentification")
    assert event is not None
    assert event.find("EventID").get("csd-code") == KINDS[action].event  # type: ignore[union-attr]
    resource = AuditEvent.model_validate_json(audit_event(record(action)))
    assert resource.type.code == KINDS[action].event
    assert resource.action == event.get("EventActionCode") == KINDS[action].action


def test_nothing_is_lost_on_the_way() -> None:
    text = audit_message(record("break-glass", outcome="denied", reason="no-grant"))
    line = audit_event(record("break-glass", outcome="denied", reason="no-grant"))
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    message = ElementTree.fromstring(text)
    words = {value for element in message.iter() for value in element.attrib.values()}
    words |= {element.text for element in message.iter() if element.text}
    for value in (
        "doctor.community",
        "community",
        "doctor",
        "1.2.3",
        "tertiary",
        "R-1",
        "g-1",
        "c-1",
        "急诊 <抢救>",
        "8",
    ):
        assert value in words
        assert value in line.decode()
    assert orjson.loads(line)["outcomeDesc"] == "no-grant"


def test_reading_the_record_is_the_use_of_the_audit_log() -> None:
    look = ElementTree.fromstring(audit_message(record("search", service="audit")))
    assert look.find("EventIdentification/EventID").get("csd-code") == "110101"  # type: ignore[union-attr]


def test_every_code_has_its_name() -> None:
    assert {kind.event for kind in KINDS.values()} | {kind.type for kind in KINDS.values() if kind.type} <= set(NAMES)
    assert set(KINDS) == set(ACTIONS)
