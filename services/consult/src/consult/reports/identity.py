"""What names the things made of a report: the same case and version always get the same names."""

from uuid import NAMESPACE_OID, UUID, uuid5

_SPACE = uuid5(NAMESPACE_OID, "imaging-cloud/consult/reports")


def uid(*parts: object) -> str:
    """A DICOM UID for these parts, below 2.25 (PS3.5 §B.2)."""
    return f"2.25.{_named(*parts).int}"


def write_back_id(consult_id: str, version: int, hospital: str) -> str:
    """The id of a version's write-back to one hospital: the same again is the same write-back."""
    return _named("write-back", consult_id, version, hospital).hex


def task_id(consult_id: str, version: int) -> str:
    """The id of what has to be made of one version."""
    return f"{consult_id}/{version}"


def pdf_id(consult_id: str, version: int) -> str:
    """The id of a version's PDF among the files."""
    return f"{consult_id}-report-{version}"


def _named(*parts: object) -> UUID:
    return uuid5(_SPACE, "/".join(map(str, parts)))
