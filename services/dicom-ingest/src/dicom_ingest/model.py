"""Rules of the ingest without I/O: who may store for whom, and the words of the answer (PS3.18 §10.5.3, Annex I)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Required, TypedDict

from dicom_ingest.errors import BadCallers
from imaging_common.dicom import CheckedInstance
from imaging_common.ids import HOSPITAL_PATTERN

# Failure Reason (0008,1197), PS3.18 Table I.2-2; as C-STORE status PS3.4 Table B.2-1
SOP_CLASS = 0x0122
PROCESSING_FAILURE = 0x0110
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
OTHER_STUDY = 0xA901
CANNOT_UNDERSTAND = 0xC000
TRANSFER_SYNTAX = 0xC122
RETRIEVAL_ID = re.compile(r"[0-9a-f]{32}")
Received = Path | bytes
"""Part 10 files one after the other: in a scratch file, or in memory where they are small."""
REPORT_SOP_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.88.59"})
"""Encapsulated PDF Storage and Key Object Selection Document Storage (PS3.4 B.5): what a consult's report is."""
_REASONS = {
    "meta-mismatch": DOES_NOT_MATCH,
    "study-mismatch": OTHER_STUDY,
    "transfer-syntax": TRANSFER_SYNTAX,
    "sop-class": SOP_CLASS,
}


@dataclass(frozen=True, slots=True)
class Sender:
    """Who stores: from the verified token or the list of callers, never from the data."""

    principal: str
    hospital: str
    has_edge: bool
    person: str = ""
    """Of the portal: the user on whose behalf it stores."""
    person_hospital: str = ""
    sop_classes: frozenset[str] = frozenset()
    """What it may store; empty: anything."""

    def judged(self, outcome: "Outcome") -> "Outcome":
        """What passed the gate, if this sender may store its SOP class."""
        if not self.sop_classes or isinstance(outcome, Refused):
            return outcome
        instance = outcome.instance
        if instance.sop_class_uid in self.sop_classes:
            return outcome
        text = "this sender stores encapsulated PDFs and key object selections only"
        return Refused(instance.sop_class_uid, instance.sop_instance_uid, "sop-class", text)

    def audited(self) -> "Audited":
        """Who the audit record names, and what they came through."""
        if self.person:
            return {"user": self.person, "hospital": self.person_hospital, "source": self.principal}
        return {"user": self.principal, "hospital": self.hospital}


class Audited(TypedDict, total=False):
    """Who stores, as fields of an audit record."""

    user: Required[str]
    hospital: Required[str]
    source: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """An instance that passed, and where it lies in the received bytes."""

    instance: CheckedInstance
    offset: int


@dataclass(frozen=True, slots=True)
class Refused:
    """An instance that is not stored, with reason. The UIDs are empty where the bytes do not tell them."""

    sop_class_uid: str
    sop_instance_uid: str
    reason_code: str
    text: str

    @property
    def failure_reason(self) -> int:
        """Failure Reason (0008,1197)."""
        return _REASONS.get(self.reason_code, CANNOT_UNDERSTAND)


Outcome = Accepted | Refused


def is_hospital(text: str) -> bool:
    """Whether `text` can be a hospital's id; only then may it become part of a key."""
    return re.fullmatch(HOSPITAL_PATTERN, text) is not None


@dataclass(frozen=True, slots=True)
class Caller:
    """An application entity that may send by C-STORE."""

    ae_title: str
    address: str
    """Empty: any."""
    hospital: str


class Callers:
    """`AE=hospital` or `AE@address=hospital`, comma-separated."""

    def __init__(self, text: str) -> None:
        self._callers = [_caller(entry.strip()) for entry in text.split(",") if entry.strip()]

    def allows(self, ae_title: str, address: str) -> bool:
        """Whether it may associate; an empty title asks for the address alone."""
        if not ae_title:
            return any(caller.address in ("", address) for caller in self._callers)
        return self.hospital_of(ae_title, address) is not None

    def hospital_of(self, ae_title: str, address: str) -> str | None:
        """The hospital that a caller stores for."""
        for caller in self._callers:
            if caller.ae_title == ae_title and caller.address in ("", address):
                return caller.hospital
        return None

    def may_be(self, ae_title: str, hospital: str) -> bool:
        """Whether a caller of that title stores for that hospital."""
        return any(caller.ae_title == ae_title and caller.hospital == hospital for caller in self._callers)


def _caller(entry: str) -> Caller:
    who, _, hospital = entry.partition("=")
    ae_title, _, address = who.partition("@")
    if not 0 < len(ae_title.strip()) <= 16 or not is_hospital(hospital.strip()):
        raise BadCallers("callers: an entry is not AE=hospital or AE@address=hospital")
    return Caller(ae_title.strip(), address.strip(), hospital.strip())


def status_code(outcomes: Sequence[Outcome]) -> int:
    """200: all stored; 202: some; 409: none (PS3.18 Table 10.5.3-1)."""
    stored = sum(isinstance(outcome, Accepted) for outcome in outcomes)
    if stored == len(outcomes):
        return 200
    return 202 if stored else 409


def store_response(outcomes: Sequence[Outcome], root: str) -> dict[str, Any]:
    """The Store Instances Response Module as DICOM JSON (PS3.18 Table I.1-1), each failure with its Error Comment.

    Parameters
    ----------
    root
        Where the holder's studies can be retrieved (`…/hospitals/<holder>/studies`); empty: not told.
    """
    accepted = {(o.instance.sop_instance_uid): o.instance for o in outcomes if isinstance(o, Accepted)}
    refused = [o for o in outcomes if isinstance(o, Refused)]
    studies = {instance.study_uid for instance in accepted.values()}
    document: dict[str, Any] = {"00081190": _url(f"{root}/{studies.pop()}" if root and len(studies) == 1 else "")}
    if accepted:
        document["00081199"] = {"vr": "SQ", "Value": [_stored(instance, root) for instance in accepted.values()]}
    if named := [r for r in refused if r.sop_instance_uid]:
        items = [{**_reference(r.sop_class_uid, r.sop_instance_uid), **_failure(r)} for r in named]
        document["00081198"] = {"vr": "SQ", "Value": items}
    if others := [r for r in refused if not r.sop_instance_uid]:
        document["0008119A"] = {"vr": "SQ", "Value": [_failure(r) for r in others]}
    return document


def _stored(instance: CheckedInstance, root: str) -> dict[str, Any]:
    path = f"{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_instance_uid}"
    url = _url(f"{root}/{path}" if root else "")
    return {**_reference(instance.sop_class_uid, instance.sop_instance_uid), "00081190": url}


def _reference(sop_class_uid: str, sop_instance_uid: str) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [sop_instance_uid]},
    }


def _failure(refused: Refused) -> dict[str, Any]:
    return {
        "00081197": {"vr": "US", "Value": [refused.failure_reason]},
        "00000902": {"vr": "LO", "Value": [refused.text[:64]]},
    }


def _url(url: str) -> dict[str, Any]:
    return {"vr": "UR", "Value": [url]} if url else {"vr": "UR"}
