"""Foreign patient ids (PS3.4 C.6: the patient id is the key of a patient, so two persons must never share one).

Who a study's patient is enters as the region says it; what a workstation of this hospital is told leaves. Pure.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydicom.dataset import Dataset

from imaging_common.index.residents import RESIDENT_ISSUER

MAX_ID = 64
MAX_LIST = 64
_HOLDERS, _PATIENT_ID, _ISSUER, _OTHER_IDS = "00080054", "00100020", "00100021", "00101002"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose patient a study's patient is."""

    holder: str
    native_id: str
    native_issuer: str
    study_uid: str = ""
    resident: str = ""
    """Who the EHR says the patient is."""
    linked_id: str = ""
    """The id under which the asking hospital knows the same resident; empty: it does not, or nobody says so."""


@dataclass(frozen=True, slots=True)
class Coercion:
    """How the workstations of one hospital are told of patients."""

    hospital: str
    region: str
    """Issuer of the ids that are made here."""

    def foreign(self, owner: Owner) -> bool:
        """Whether the ids are another hospital's."""
        return owner.holder != self.hospital

    def patient_id(self, owner: Owner) -> str:
        """Patient ID (0010,0020): the own one, the linked one, or `<holder>:<id>`."""
        if not self.foreign(owner):
            return owner.native_id
        return owner.linked_id or qualified(owner.holder, owner.native_id, owner.study_uid)

    def apply(self, dataset: Dataset, owner: Owner) -> None:
        """Coerce a data set's patient ids in place; the original stays in Other Patient IDs Sequence (0010,1002)."""
        if not self.foreign(owner):
            return
        original = Dataset()
        original.PatientID = owner.native_id
        original.IssuerOfPatientID = owner.native_issuer or owner.holder
        others = [item for item in dataset.get("OtherPatientIDsSequence") or [] if not _same(item, original)]
        dataset.PatientID = self.patient_id(owner)
        dataset.IssuerOfPatientID = self.hospital if owner.linked_id else self.region
        dataset.OtherPatientIDsSequence = [original, *others][:MAX_LIST]

    def record(self, dataset: Dataset, owner: Owner, system: str, now: datetime) -> None:
        """Say in Original Attributes Sequence (0400,0561) what `apply` replaced (PS3.3 C.12.1.1.9)."""
        if not self.foreign(owner):
            return
        before, item = Dataset(), Dataset()
        before.PatientID = owner.native_id
        before.IssuerOfPatientID = owner.native_issuer
        item.SourceOfPreviousValues = owner.holder
        item.AttributeModificationDateTime = now.strftime("%Y%m%d%H%M%S")
        item.ModifyingSystem = system
        item.ReasonForTheAttributeModification = "COERCE"
        item.ModifiedAttributesSequence = [before]
        dataset.OriginalAttributesSequence = [*(dataset.get("OriginalAttributesSequence") or []), item]


def qualified(holder: str, native_id: str, study_uid: str) -> str:
    """`<holder>:<id>`, at most 64 characters; a person without an id is as many persons as studies."""
    if not native_id:
        return f"{holder}:{_digest(study_uid)}"
    text = f"{holder}:{native_id}"
    return text if len(text) <= MAX_ID else f"{holder}:{_digest(native_id)}"


def owner_of(row: dict[str, Any], hospital: str, *, asked_own: bool = False) -> Owner | None:
    """Who a study of a QIDO-RS answer belongs to; None: the answer does not say, so that it must not be shown.

    Retrieve AE Title (0008,0054) lists the holders, the one whose attributes are shown first. Other Patient IDs
    Sequence (0010,1002) may hold the resident, with the EHR as issuer.
    """
    holders = [str(value) for value in row.get(_HOLDERS, {}).get("Value") or [] if value]
    holder = holders[0] if holders else hospital if asked_own else ""
    if not holder:
        return None
    items = [item for item in row.get(_OTHER_IDS, {}).get("Value") or [] if isinstance(item, dict)]
    residents = [_text(item, _PATIENT_ID) for item in items if _text(item, _ISSUER) == RESIDENT_ISSUER]
    return Owner(
        holder=holder,
        native_id=_text(row, _PATIENT_ID),
        native_issuer=_text(row, _ISSUER),
        study_uid=_text(row, "0020000D"),
        resident=residents[0] if residents else "",
    )


def _text(row: dict[str, Any], tag: str) -> str:
    values = row.get(tag, {}).get("Value") or [""]
    return str(values[0] or "").strip()


def _same(one: Dataset, other: Dataset) -> bool:
    return (one.get("PatientID"), one.get("IssuerOfPatientID")) == (other.PatientID, other.IssuerOfPatientID)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:31]
