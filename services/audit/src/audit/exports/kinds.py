"""What each action is in the terms of PS3.15 A.5 (context groups 400 and 401 of PS3.16); one place for both exports."""

import base64
import json
from dataclasses import dataclass
from typing import Any

DCM = "http://dicom.nema.org/resources/ontology/DCM"
NAMES = {
    "110101": "Audit Log Used",
    "110103": "DICOM Instances Accessed",
    "110104": "DICOM Instances Transferred",
    "110105": "DICOM Study Deleted",
    "110106": "Export",
    "110109": "Order Record",
    "110110": "Patient Record",
    "110111": "Procedure Record",
    "110112": "Query",
    "110113": "Security Alert",
    "110114": "User Authentication",
    "110122": "Login",
    "110123": "Logout",
    "110127": "Emergency Override Started",
    "110128": "Network Configuration",
    "110132": "Use of Restricted Function",
    "110135": "Object Security Attributes Changed",
    "110137": "User Security Attributes Changed",
    "110138": "Emergency Override Stopped",
    "110152": "Destination Role ID",
    "110153": "Source Role ID",
    "110154": "Destination Media",
    "110180": "Study Instance UID",
    "110181": "SOP Class UID",
    "110182": "Node ID",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """EventID, EventTypeCode (or none) and EventActionCode (C, R, U, D, E)."""

    event: str
    action: str
    type: str = ""


KINDS: dict[str, Kind] = {
    "search": Kind("110112", "E"),
    "view": Kind("110103", "R"),
    "store": Kind("110104", "C"),
    "retrieve": Kind("110104", "R"),
    "annotate": Kind("110103", "C"),
    "sign-in": Kind("110114", "E", "110122"),
    "sign-out": Kind("110114", "E", "110123"),
    "launch": Kind("110114", "E", "110122"),
    "share": Kind("110113", "E", "110135"),
    "revoke": Kind("110113", "E", "110135"),
    "break-glass": Kind("110113", "E", "110127"),
    "permission": Kind("110113", "E", "110137"),
    "onboard": Kind("110113", "E", "110128"),
    "replay": Kind("110113", "E", "110132"),
    "export": Kind("110106", "R"),
    "apply": Kind("110111", "C"),
    "accept": Kind("110111", "U"),
    "draft": Kind("110111", "U"),
    "reject": Kind("110111", "U"),
    "issue": Kind("110111", "U"),
    "withdraw": Kind("110111", "U"),
    "acknowledge": Kind("110111", "U"),
    "return": Kind("110111", "U"),
    "assign": Kind("110111", "U"),
    "release": Kind("110111", "U"),
    "read": Kind("110111", "U"),
    "review": Kind("110111", "U"),
    "escalate": Kind("110111", "U"),
    "invite": Kind("110113", "E", "110137"),
    "opinion": Kind("110111", "U"),
    "amend": Kind("110111", "U"),
    "comment": Kind("110111", "U"),
    "configure": Kind("110113", "E", "110132"),
    "subscribe": Kind("110113", "E", "110132"),
    "report": Kind("110111", "C"),
    "order": Kind("110109", "C"),
    "link": Kind("110110", "U"),
    "unlink": Kind("110110", "U"),
    "delete": Kind("110105", "D"),
    "restore": Kind("110103", "U"),
    "hold": Kind("110113", "E", "110135"),
}
OUTCOMES = {"success": "0", "denied": "8", "failed": "4"}
"""EventOutcomeIndicator: success, serious failure, minor failure."""


QUERY, ACCESSED, TRANSFERRED, EXPORT, ALERT, LOG_USED = "110112", "110103", "110104", "110106", "110113", "110101"
AUDIT_LOG = "urn:imaging:region:audit-record"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
"""The information model that is searched, however the question came (PS3.15 A.5.3.10, non-DICOM queries)."""


def kind_of(record: dict[str, Any]) -> Kind:
    """Of one record; whoever reads the audit record itself uses the audit log."""
    action, reason = record["action"], record.get("reason", "")
    if record["service"] == "audit":
        return Kind(LOG_USED, "R")
    if action == "revoke" and reason == "break-glass":
        return Kind(ALERT, "E", "110138")
    if action in ("link", "unlink") and reason == "report":
        return Kind("110111", "U")
    return KINDS[action]


def base64_of(text: str) -> str:
    """As both standards carry what could be anything: base64 of UTF-8."""
    return base64.b64encode(text.encode()).decode()


def question_of(record: dict[str, Any]) -> str:
    """What was asked as far as it is kept: what a person typed is personal data and never reaches the record."""
    kept = {name: record[name] for name in ("resident_id", "study_uid", "consult_id", "reason") if record.get(name)}
    return json.dumps(kept, ensure_ascii=False, sort_keys=True)
