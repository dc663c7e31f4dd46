"""A record as a FHIR `AuditEvent` (R4B, 4.3.0), after the DICOM audit message's content."""

from typing import Any

from fhir.resources.R4B.auditevent import AuditEvent

from audit.exports import kinds
from audit.exports.kinds import DCM, NAMES, OUTCOMES, base64_of, kind_of, question_of

REGION = "urn:imaging:region"
ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
ROLES = {"3": "Report", "13": "Security Resource", "20": "Job"}


def audit_event(record: dict[str, Any]) -> bytes:
    """The resource as one line of JSON (NDJSON), checked against the R4B model."""
    kind = kind_of(record)
    document: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": record["audit_id"][:64].replace("_", "-"),
        "type": _coding(kind.event),
        "action": kind.action,
        "recorded": record["at"],
        "outcome": OUTCOMES[record["outcome"]],
        "agent": [_person(record), _service(record)],
        "source": {"observer": _reference(f"{REGION}:service", record["service"])},
    }
    if record.get("hospital"):
        document["source"]["site"] = record["hospital"]
    if kind.type:
        document["subtype"] = [_coding(kind.type)]
    if record.get("reason"):
        document["outcomeDesc"] = record["reason"]
    if record.get("purpose"):
        document["purposeOfEvent"] = [{"text": record["purpose"]}]
    if entities := _entities(record):
        document["entity"] = entities
    return AuditEvent.model_validate(document).model_dump_json(exclude_none=True).encode() + b"\n"


def _coding(code: str) -> dict[str, str]:
    return {"system": DCM, "code": code, "display": NAMES[code]}


def _reference(system: str, value: str) -> dict[str, Any]:
    return {"identifier": {"system": system, "value": value}}


def _person(record: dict[str, Any]) -> dict[str, Any]:
    agent: dict[str, Any] = {"who": _reference(f"{REGION}:user", record["user"] or "unknown"), "requestor": True}
    if record.get("roles"):
        agent["role"] = [{"text": role} for role in record["roles"]]
    if record.get("session"):
        agent["altId"] = record["session"]
    if record.get("grant_id"):
        agent["policy"] = [f"urn:imaging:grant:{record['grant_id']}"]
    if record.get("source"):
        agent["network"] = {"address": record["source"], "type": "1"}
    return agent


def _service(record: dict[str, Any]) -> dict[str, Any]:
    return {"who": _reference(f"{REGION}:service", record["service"]), "requestor": False}


def _entities(record: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    event = kind_of(record).event
    if event == kinds.LOG_USED:
        found.append(_system("urn:ietf:rfc:3986", kinds.AUDIT_LOG, "13", name="Security Audit Log"))
    if event == kinds.QUERY:
        found.append(_system("urn:dicom:uid", f"urn:oid:{kinds.STUDY_ROOT_FIND}", "3", query=question_of(record)))
    if record.get("study_uid"):
        study = _system("urn:dicom:uid", f"urn:oid:{record['study_uid']}", "3")
        study["detail"] = [{"type": "count", "valueString": str(record.get("count", 1))}]
        if record.get("holder"):
            study["detail"].append({"type": "holder", "valueString": record["holder"]})
        found.append(study)
    if record.get("resident_id"):
        found.append(
            {
                "what": _reference(f"{REGION}:resident", record["resident_id"]),
                "type": {"system": ENTITY, "code": "1", "display": "Person"},
                "role": {"system": ROLE, "code": "1", "display": "Patient"},
            }
        )
    if record.get("consult_id"):
        found.append(_system(f"{REGION}:consult", record["consult_id"], "20"))
    if record.get("grant_id"):
        found.append(_system("urn:ietf:rfc:3986", f"urn:imaging:grant:{record['grant_id']}", "13"))
    return found


def _system(system: str, value: str, role: str, *, name: str = "", query: str = "") -> dict[str, Any]:
    """A system object; a name or a query, never both (constraint sev-1)."""
    entity: dict[str, Any] = {
        "what": _reference(system, value),
        "type": {"system": ENTITY, "code": "2", "display": "System Object"},
        "role": {"system": ROLE, "code": role, "display": ROLES[role]},
    }
    if query:
        entity["query"] = base64_of(query)
    elif name:
        entity["name"] = name
    return entity
