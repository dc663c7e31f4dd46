"""Systems, codes and ids as this facade spells them. Pure."""

import base64
import binascii
import re
from collections.abc import Iterable

VERSION = "4.3.0"
MEDIA_TYPE = "application/fhir+json"
BASE = "/fhir/R4"
RESIDENT_SYSTEM = "urn:imaging:resident"
HOSPITAL_SYSTEM = "urn:imaging:hospital"
PATIENT_SYSTEM = "urn:imaging:patient:"
"""Followed by the hospital that gave the patient id."""
ACCESSION_SYSTEM = "urn:imaging:accession:"
REPORT_SYSTEM = "urn:imaging:report:"
CONSULT_SYSTEM = "urn:imaging:consult"
UID_SYSTEM = "urn:dicom:uid"
"""With values `urn:oid:<UID>` (FHIR R4B ImagingStudy.identifier)."""
DCM = "http://dicom.nema.org/resources/ontology/DCM"
SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
CONNECTION_TYPE = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
BODY_SITES: dict[str, tuple[str, str]] = {
    "ABDOMEN": ("113345001", "Abdominal structure"),
    "ANKLE": ("344001", "Ankle region structure"),
    "BRAIN": ("12738006", "Brain structure"),
    "BREAST": ("76752008", "Breast structure"),
    "CHEST": ("51185008", "Thoracic structure"),
    "CSPINE": ("122494005", "Cervical spine structure"),
    "ELBOW": ("127949000", "Elbow region structure"),
    "FOOT": ("56459004", "Foot structure"),
    "HAND": ("85562004", "Hand structure"),
    "HEAD": ("69536005", "Head structure"),
    "HEART": ("80891009", "Heart structure"),
    "HIP": ("29836001", "Hip region structure"),
    "KIDNEY": ("64033007", "Kidney structure"),
    "KNEE": ("72696002", "Knee region structure"),
    "LIVER": ("10200004", "Liver structure"),
    "LSPINE": ("122496007", "Lumbar spine structure"),
    "NECK": ("45048000", "Neck structure"),
    "PELVIS": ("12921003", "Structure of pelvis"),
    "SHOULDER": ("16982005", "Shoulder region structure"),
    "SPINE": ("421060004", "Structure of vertebral column"),
    "TSPINE": ("122495006", "Thoracic spine structure"),
    "WRIST": ("8205005", "Wrist region structure"),
}
"""Body Part Examined (0018,0015) → SNOMED CT, where the meaning is beyond doubt; others are texts."""
_FROM_SNOMED = {code: part for part, (code, _) in BODY_SITES.items()}
_ALIKE = (frozenset({"CR", "DX"}),)
_PARTS_ALIKE = (
    frozenset({"CHEST", "THORAX", "LUNG"}),
    frozenset({"HEAD", "BRAIN", "SKULL"}),
    frozenset({"LSPINE", "SPINE"}),
    frozenset({"CSPINE", "SPINE"}),
    frozenset({"TSPINE", "SPINE"}),
)


def body_part(code: str) -> str:
    """Body Part Examined for a SNOMED CT code, or for the text itself."""
    return _FROM_SNOMED.get(code, code.strip().upper())


def alike_modalities(modalities: Iterable[str]) -> frozenset[str]:
    """These, and those that answer the same question: an X-ray by CR or by DX."""
    wanted = frozenset(modalities)
    return wanted.union(*(group for group in _ALIKE if group & wanted))


def alike_parts(parts: Iterable[str]) -> frozenset[str]:
    """These, and those that lie in the same region of the body."""
    wanted = frozenset(parts)
    return wanted.union(*(group for group in _PARTS_ALIKE if group & wanted))


def report_id(hospital: str, report_key: str) -> str:
    """DiagnosticReport.id (at most 64 characters of `A-Za-z0-9-.`) of a hospital's report: `<hospital>.<base32>`."""
    short = base64.b32encode(bytes.fromhex(report_key)).decode().rstrip("=").lower()
    return f"{hospital}.{short}"


def report_of(resource_id: str) -> tuple[str, str] | None:
    """(hospital, report key) behind a DiagnosticReport.id; None: it is none of a hospital's reports."""
    matched = re.fullmatch(r"([a-z0-9-]{1,32})\.([a-z2-7]{26})", resource_id)
    if matched is None:
        return None
    try:
        return matched[1], base64.b32decode(matched[2].upper() + "======").hex()
    except binascii.Error:
        return None
