"""What each action is in the terms of PS3.15 A.5 (context groups 400 and 401 of PS3.16); one place for both exports."""

from dataclasses import dataclass
from typing import Any

DCM = "http://dicom.nema.org/resources/ontology/DCM"
NAMES = {
    "110100": "Application Activity",
    "110101": "Audit Log Used",
    "110103": "DICOM Instances Accessed",
    "110104": "DICOM Instances Transferred",
    "110105": "DICOM Study Deleted",
    "110106": "Export",
    "110107": "Import",
    "110109": "Order Record",
    "110110": "Patient Record",
    "110111": "Procedure Record",
    "110112": "Query",
    "110113": "Security Alert",
    "110114": "User Authentication",
    "110122": "Login",
    "110123": "Logout",
    "110124": "Attach",
    "110127": "Emergency Override Started",
    "110128": "Network Configuration",
    "110135": "Object Security Attributes Changed",
    "110137": "User Security Attributes Changed",
    "110180": "Study Instance UID",
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
    "launch": Kind("110114", "E", "110124"),
    "share": Kind("110113", "E", "110135"),
    "revoke": Kind("110113", "E", "110135"),
    "break-glass": Kind("110113", "E", "110127"),
    "permission": Kind("110113", "E", "110137"),
    "onboard": Kind("110113", "E", "110128"),
    "replay": Kind("110100", "E"),
    "export": Kind("110106", "R"),
    "apply": Kind("110111", "C"),
    "accept": Kind("110111", "U"),
    "draft": Kind("110111", "U"),
    "reject": Kind("110111", "U"),
    "issue": Kind("110111", "U"),
    "withdraw": Kind("110111", "U"),
    "acknowledge": Kind("110111", "U"),
    "report": Kind("110107", "C"),
    "order": Kind("110109", "C"),
    "link": Kind("110110", "U"),
    "unlink": Kind("110110", "U"),
    "delete": Kind("110105", "D"),
    "restore": Kind("110103", "C"),
    "hold": Kind("110113", "E", "110135"),
}
OUTCOMES = {"success": "0", "denied": "8", "failed": "4"}
"""EventOutcomeIndicator: success, serious failure, minor failure."""


def kind_of(record: dict[str, Any]) -> Kind:
    """Of one record; whoever reads the audit record itself uses the audit log."""
    if record["service"] == "audit":
        return Kind("110101", "R")
    return KINDS[record["action"]]
