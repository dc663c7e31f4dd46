"""Every action in the words of DICOM (PS3.15 A.5) and FHIR R4B; nothing of a record is lost on the way."""

import base64
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
    words = words_of(text)
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


def words_of(text: bytes) -> set[str]:
    """Every attribute and text of a message; what is base64 is decoded."""
    message = ElementTree.fromstring(text)
    words = {value for element in message.iter() for value in element.attrib.values()}
    words |= {element.text for element in message.iter() if element.text}
    encoded = [detail.get("value", "") for detail in message.iter("ParticipantObjectDetail")]
    return words | {base64.b64decode(value).decode() for value in encoded}


def objects_of(message: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """The participant objects by the code of what their id is."""
    found = message.findall("ParticipantObjectIdentification")
    return {one.find("ParticipantObjectIDTypeCode").get("csd-code", ""): one for one in found}  # type: ignore[union-attr]


def roles_of(message: ElementTree.Element) -> list[list[str | None]]:
    """The DCM role codes of each participant."""
    return [
        [code.get("csd-code") for code in one.findall("RoleIDCode") if code.get("codeSystemName") == "DCM"]
        for one in message.findall("ActiveParticipant")
    ]


@pytest.mark.parametrize("action", ACTIONS)
def test_every_object_has_a_name_or_a_query(action: str) -> None:
    """The schema of A.5.1 wants one of the two; FHIR (sev-1) allows no more."""
    for one in ElementTree.fromstring(audit_message(record(action))).findall("ParticipantObjectIdentification"):
        assert len(one.findall("ParticipantObjectName") + one.findall("ParticipantObjectQuery")) == 1


def test_query_says_who_asked_whom_and_what_as_far_as_it_is_kept() -> None:
    """Table A.5.3.10-1."""
    message = ElementTree.fromstring(audit_message(record("search", reason="patient")))
    assert roles_of(message) == [["110153"], ["110152"]]
    query = objects_of(message)["110181"]
    asked = orjson.loads(base64.b64decode(query.findtext("ParticipantObjectQuery") or ""))
    assert asked == {"resident_id": "R-1", "study_uid": "1.2.3", "consult_id": "c-1", "reason": "patient"}


@pytest.mark.parametrize(
    ("service", "action", "roles"),
    [
        ("dicom-ingest", "store", [["110153"], ["110152"]]),
        ("dicom-ingest", "retrieve", [["110153"], ["110152"]]),
        ("gateway", "retrieve", [["110152"], ["110153"]]),
    ],
)
def test_transfer_has_its_source_and_destination(service: str, action: str, roles: list[list[str]]) -> None:
    """Table A.5.3.7-1."""
    message = ElementTree.fromstring(audit_message(record(action, service=service, count=7)))
    assert roles_of(message) == roles
    assert objects_of(message)["110180"].find("SOPClass").get("NumberOfInstances") == "7"  # type: ignore[union-attr]


def test_broken_glass_is_an_alert_that_starts_and_stops() -> None:
    """Table A.5.3.11-1: the alert's subject and its description."""
    started, stopped = (
        ElementTree.fromstring(audit_message(record(action, reason=reason, study_uid=None)))
        for action, reason in (("break-glass", ""), ("revoke", "break-glass"))
    )
    codes = [one.find("EventIdentification/EventTypeCode").get("csd-code") for one in (started, stopped)]  # type: ignore[union-attr]
    assert codes == ["110127", "110138"]
    subject = objects_of(started)["12"]
    assert subject.get("ParticipantObjectID") == "urn:imaging:grant:g-1"
    detail = subject.find("ParticipantObjectDetail")
    assert detail is not None
    assert (detail.get("type"), base64.b64decode(detail.get("value", "")).decode()) == (
        "Alert Description",
        "急诊 <抢救>",
    )


def test_reading_the_record_is_the_use_of_the_audit_log() -> None:
    look = ElementTree.fromstring(audit_message(record("search", service="audit", grant_id=None)))
    assert look.find("EventIdentification/EventID").get("csd-code") == "110101"  # type: ignore[union-attr]
    log = objects_of(look)["12"]
    assert log.findtext("ParticipantObjectName") == "Security Audit Log"
    assert log.get("ParticipantObjectTypeCodeRole") == "13"


def test_every_code_has_its_name() -> None:
    assert {kind.event for kind in KINDS.values()} | {kind.type for kind in KINDS.values() if kind.type} <= set(NAMES)
    assert set(KINDS) == set(ACTIONS)
