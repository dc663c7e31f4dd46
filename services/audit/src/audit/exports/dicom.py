"""A record as an `AuditMessage` (PS3.15 A.5.1, the RELAX NG schema there)."""

from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from audit.exports.kinds import NAMES, OUTCOMES, kind_of

SOURCE = "regional-imaging-cloud"
DOCUMENT_BEGIN, DOCUMENT_END = b'<?xml version="1.0" encoding="UTF-8"?>\n<AuditMessages>\n', b"</AuditMessages>\n"


def audit_message(record: dict[str, Any]) -> bytes:
    """One element and a line feed, UTF-8."""
    kind = kind_of(record)
    message = Element("AuditMessage")
    event = SubElement(
        message,
        "EventIdentification",
        EventActionCode=kind.action,
        EventDateTime=record["at"],
        EventOutcomeIndicator=OUTCOMES[record["outcome"]],
    )
    _code(event, "EventID", kind.event)
    if kind.type:
        _code(event, "EventTypeCode", kind.type)
    if record.get("reason"):
        SubElement(event, "EventOutcomeDescription").text = record["reason"]
    if record.get("purpose"):
        SubElement(
            event, "PurposeOfUse", {"csd-code": record["purpose"], "codeSystemName": "PurposeOfUse",
                                    "originalText": record["purpose"]}
        )  # fmt: skip
    person = SubElement(message, "ActiveParticipant", UserID=record["user"], UserIsRequestor="true")
    if record.get("session"):
        person.set("AlternativeUserID", record["session"])
    if record.get("source"):
        person.set("NetworkAccessPointID", record["source"])
    for role in record.get("roles", []):
        SubElement(person, "RoleIDCode", {"csd-code": role, "codeSystemName": SOURCE, "originalText": role})
    SubElement(message, "ActiveParticipant", UserID=record["service"], UserIsRequestor="false")
    where = SubElement(message, "AuditSourceIdentification", AuditSourceID=SOURCE)
    if record.get("hospital"):
        where.set("AuditEnterpriseSiteID", record["hospital"])
    if record.get("study_uid"):
        study = _object(message, record["study_uid"], "3")
        _code(study, "ParticipantObjectIDTypeCode", "110180")
        if record.get("holder"):
            _detail(study, "holder", record["holder"])
        _detail(study, "count", str(record.get("count", 1)))
    if record.get("resident_id"):
        patient = _object(message, record["resident_id"], "1", "1")
        SubElement(patient, "ParticipantObjectIDTypeCode", {"csd-code": "2", "codeSystemName": "RFC-3881",
                                                            "originalText": "Patient Number"})  # fmt: skip
    for name in ("consult_id", "grant_id"):
        if record.get(name):
            other = _object(message, record[name], "20" if name == "consult_id" else "13")
            SubElement(other, "ParticipantObjectIDTypeCode", {"csd-code": name, "codeSystemName": SOURCE,
                                                              "originalText": name})  # fmt: skip
    return bytes(ElementTree.tostring(message, encoding="utf-8", xml_declaration=False)) + b"\n"


def _code(parent: Element, tag: str, code: str) -> None:
    SubElement(parent, tag, {"csd-code": code, "codeSystemName": "DCM", "originalText": NAMES[code]})


def _object(message: Element, value: str, role: str, kind: str = "2") -> Element:
    """`kind`: 1 person, 2 system object; `role`: 1 patient, 3 report, 13 security resource, 20 job."""
    return SubElement(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectID=value,
        ParticipantObjectTypeCode=kind,
        ParticipantObjectTypeCodeRole=role,
    )


def _detail(parent: Element, name: str, value: str) -> None:
    SubElement(parent, "ParticipantObjectDetail", type=name, value=value)
