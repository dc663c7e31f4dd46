"""Rules of the ingest without I/O: what is accepted into a batch, and the answer's words (PS3.18 §10.5.3)."""

from dataclasses import dataclass
from typing import Any

from imaging_common.dicom import CheckedInstance

PROCESSING_FAILURE = 0x0110
MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
OUT_OF_RESOURCES = 0xA700
"""Failure Reason (0008,1197), PS3.3 C.14.1.1 and PS3.4 Table B.2-1."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who stores: from the verified token or the allow-list, never from the data."""

    principal: str
    hospital: str
    has_edge: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """An instance that passed, and where it lies in the received bytes."""

    instance: CheckedInstance
    offset: int


@dataclass(frozen=True, slots=True)
class Refused:
    """An instance that is not stored, with reason."""

    sop_class_uid: str
    sop_instance_uid: str
    failure_reason: int
    text: str


def failure_reason(reason_code: str) -> int:
    """The Failure Reason for a rule of the gate."""
    return MISMATCH if "mismatch" in reason_code else CANNOT_UNDERSTAND


def store_response(accepted: list[Accepted], refused: list[Refused]) -> dict[str, Any]:
    """The store instances response as DICOM JSON (PS3.18 §10.5.3.2); each failure also has its Error Comment."""
    document: dict[str, Any] = {}
    if accepted:
        items = [_reference(a.instance.sop_class_uid, a.instance.sop_instance_uid) for a in accepted]
        document["00081199"] = {"vr": "SQ", "Value": items}
    if refused:
        failures = [
            {
                **_reference(r.sop_class_uid, r.sop_instance_uid),
                "00081197": {"vr": "US", "Value": [r.failure_reason]},
                "00000902": {"vr": "LO", "Value": [r.text[:64]]},
            }
            for r in refused
        ]
        document["00081198"] = {"vr": "SQ", "Value": failures}
    return document


def status_code(accepted: list[Accepted], refused: list[Refused]) -> int:
    """200: all stored; 202: some; 409: none (PS3.18 Table 10.5.3-1)."""
    if not refused:
        return 200
    return 202 if accepted else 409


def _reference(sop_class_uid: str, sop_instance_uid: str) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [sop_class_uid] if sop_class_uid else []},
        "00081155": {"vr": "UI", "Value": [sop_instance_uid] if sop_instance_uid else []},
    }
