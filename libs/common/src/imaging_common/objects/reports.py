"""How a hospital's report lies in the archive: the original bytes, and beside them what they say.

Bucket `archive`: original at `<hospital>/reports/<report_key>/<sha256>.report`, facts at the same key with `.json`
(written after the data, so that facts prove their data). `report_key` is a digest of hospital and filler report id:
keys never contain unvalidated peer input.
"""

import hashlib
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from imaging_common.ids import HospitalId, Sha256, Uid

ReportStatus = Literal["preliminary", "final", "amended", "cancelled"]


class ReportManifest(BaseModel):
    """One version of one report, as its original says it."""

    model_config = ConfigDict(frozen=True)

    hospital: HospitalId
    report_key: str
    report_id: str
    """The hospital's filler report id: OBR-3 of HL7 v2, `identifier` of FHIR."""
    sha256: Sha256
    """Of the original bytes."""
    data_key: str
    kind: Literal["hl7-oru", "fhir-diagnostic-report"]
    media_type: str
    status: ReportStatus
    issued_at: datetime
    """When the hospital issued this version; the later one of two is the newer version, received order breaks ties."""
    received_at: datetime
    study_uid: Uid | None = None
    accession: str = ""
    accession_issuer: str = ""
    patient_id: str = ""
    patient_name: str = ""
    """PN with component groups."""
    birth_date: str = ""
    sex: str = ""
    title: str = ""
    author: str = ""
    findings: str = ""
    impression: str = ""
    extra: dict[str, Any] = {}


def report_key(hospital: str, report_id: str) -> str:
    """The key of a report, whatever its version."""
    return hashlib.sha256(f"{hospital}\n{report_id}".encode()).hexdigest()[:32]


def report_object_key(hospital: str, key: str, sha256: str) -> str:
    """Where the original bytes lie."""
    return f"{hospital}/reports/{key}/{sha256}.report"


def report_manifest_key(data_key: str) -> str:
    """Where the facts lie."""
    return data_key.removesuffix(".report") + ".json"


def is_report(key: str) -> bool:
    """Whether an archive key is a report's, not a pack's: no study's UID (PS3.5 §9.1) has letters."""
    return key.split("/")[1:2] == ["reports"]
