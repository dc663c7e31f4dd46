"""A record as an `AuditMessage` (PS3.15 A.5.1, the RELAX NG schema there; A.5.3, what each event says)."""

from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from audit.exports import kinds
from audit.exports.kinds import NAMES, OUTCOMES, Kind, base64_of, kind_of, question_of

SOURCE = "regional-imaging-cloud"
DOCUMENT_BEGIN, DOCUMENT_END = b'<?xml version="1.0" encoding="UTF-8"?>\n<AuditMessages>\n', b"</AuditMessages>\n"
MACHINE_NAME = "1"
_DCM_SOURCE, _DCM_DESTINATION, _DCM_MEDIA = "110153", "110152", "110154"


def audit_message(record: dict[str, Any]) -> bytes:
    """One element and a line feed, UTF-8."""
    kind = kind_of(record)
    message = Element("AuditMessage")
    _event(message, record, kind)
    _participants(message, record, kind)
    where = SubElement(message, "AuditSourceIdentification", AuditSourceID=SOURCE)
    if record.get("hospital"):
        where.set("AuditEnterpriseSiteID", record["hospital"])
    _objects(message, record, kind)
    return bytes(ElementTree.tostring(message, encoding="utf-8", xml_declaration=False)) + b"\n"


def _event(message: Element, record: dict[str, Any], kind: Kind) -> None:
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
        _own_code(event, "PurposeOfUse", record["purpose"], "PurposeOfUse")


def _participants(message: Element, record: dict[str, Any], kind: Kind) -> None:
    """Who asked, and the process that answered; of queries and transfers which of them is the source."""
    person_role, service_role = _roles(record, kind)
    person = SubElement(message, "ActiveParticipant", UserID=record["user"] or "unknown", UserIsRequestor="true")
    if record.get("session"):
        person.set("AlternativeUserID", record["session"])
    if record.get("source"):
        person.set("NetworkAccessPointTypeCode", MACHINE_NAME)
        person.set("NetworkAccessPointID", record["source"])
    if person_role:
        _code(person, "RoleIDCode", person_role)
    for role in record.get("roles", []):
        _own_code(person, "RoleIDCode", role)
    service = SubElement(message, "ActiveParticipant", UserID=record["service"], UserIsRequestor="false")
    if service_role:
        _code(service, "RoleIDCode", service_role)
    if kind.event == kinds.EXPORT:
        media = SubElement(message, "ActiveParticipant", UserID=record["user"] or "unknown", UserIsRequestor="false")
        _code(media, "RoleIDCode", _DCM_MEDIA)


def _roles(record: dict[str, Any], kind: Kind) -> tuple[str, str]:
    """RoleIDCode of the person (or agent) and of the service; what is stored comes from the one who is recorded."""
    if kind.event == kinds.QUERY:
        return _DCM_SOURCE, _DCM_DESTINATION
    if kind.event == kinds.TRANSFERRED:
        sent = record["service"] == "dicom-ingest" or record["action"] == "store"
        return (_DCM_SOURCE, _DCM_DESTINATION) if sent else (_DCM_DESTINATION, _DCM_SOURCE)
    return (_DCM_SOURCE, "") if kind.event == kinds.EXPORT else ("", "")


def _objects(message: Element, record: dict[str, Any], kind: Kind) -> None:
    if kind.event == kinds.LOG_USED:
        _uri(message, kinds.AUDIT_LOG, "Security Audit Log")
    if kind.event == kinds.QUERY:
        query = _object(message, kinds.STUDY_ROOT_FIND, "3")
        _code(query, "ParticipantObjectIDTypeCode", "110181")
        SubElement(query, "ParticipantObjectQuery").text = base64_of(question_of(record))
        _detail(query, "count", str(record.get("count", 1)))
    if record.get("study_uid"):
        _study(message, record)
    if record.get("resident_id"):
        patient = _object(message, record["resident_id"], "1", "1")
        SubElement(patient, "ParticipantObjectIDTypeCode", {"csd-code": "2", "codeSystemName": "RFC-3881",
                                                            "originalText": "Patient Number"})  # fmt: skip
        SubElement(patient, "ParticipantObjectName").text = record["resident_id"]
    if record.get("consult_id"):
        case = _object(message, record["consult_id"], "20")
        _own_code(case, "ParticipantObjectIDTypeCode", "consult_id")
        SubElement(case, "ParticipantObjectName").text = record["consult_id"]
    alerts: list[Element] = []
    if record.get("grant_id"):
        alerts.append(_uri(message, f"urn:imaging:grant:{record['grant_id']}", record["grant_id"]))
    elif kind.event == kinds.ALERT and not record.get("study_uid"):
        node = _object(message, record.get("holder") or record["service"], "13")
        _code(node, "ParticipantObjectIDTypeCode", "110182")
        SubElement(node, "ParticipantObjectName").text = record.get("holder") or record["service"]
        alerts.append(node)
    for alert in alerts if kind.event == kinds.ALERT else ():
        _detail(alert, "Alert Description", record.get("purpose") or record.get("reason") or record["action"])


def _study(message: Element, record: dict[str, Any]) -> None:
    study = _object(message, record["study_uid"], "3")
    _code(study, "ParticipantObjectIDTypeCode", "110180")
    SubElement(study, "ParticipantObjectName").text = record["study_uid"]
    if record.get("holder"):
        _detail(study, "holder", record["holder"])
    SubElement(study, "SOPClass", NumberOfInstances=str(record.get("count", 1)))


def _code(parent: Element, tag: str, code: str) -> None:
    SubElement(parent, tag, {"csd-code": code, "codeSystemName": "DCM", "originalText": NAMES[code]})


def _own_code(parent: Element, tag: str, code: str, system: str = SOURCE) -> None:
    SubElement(parent, tag, {"csd-code": code, "codeSystemName": system, "originalText": code})


def _uri(message: Element, uri: str, name: str) -> Element:
    """A security resource that a URI names (RFC 3881 code 12)."""
    found = _object(message, uri, "13")
    SubElement(found, "ParticipantObjectIDTypeCode", {"csd-code": "12", "codeSystemName": "RFC-3881",
                                                      "originalText": "URI"})  # fmt: skip
    SubElement(found, "ParticipantObjectName").text = name
    return found


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
    """A ParticipantObjectDetail: its value is base64 (A.5.1)."""
    SubElement(parent, "ParticipantObjectDetail", type=name, value=base64_of(value))
