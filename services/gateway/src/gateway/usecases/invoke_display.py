"""IHE Invoke Image Display (RAD TF-2 4.106): what a request asks for, and the studies it means to who asks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from gateway.grants.model import MAX_STUDIES, RESIDENT_PATTERN
from imaging_common.access import Subject
from imaging_common.audit import AuditTrail, who
from imaging_common.ids import is_uid
from imaging_common.index.model import StudyDocument
from imaging_common.index.read import StudyIndex
from imaging_common.index.residents import RESIDENT_ISSUER

VIEWER_TYPES = frozenset({"", "IHE_BIR"})
"""Any viewer, or IHE Basic Image Review; ours is the only one there is."""
LOOKED_THROUGH = 500
_LIST = re.compile(r"[^,]+(,[^,]+)*")


class DisplayRefused(Exception):
    """A request that is answered with `status`; `reason` is a word for the page and the record."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class DisplayAsked:
    """A request's parameters, checked."""

    studies: tuple[str, ...] = ()
    accessions: tuple[str, ...] = ()
    patient: str = ""
    issuer: str = ""
    most_recent: int = MAX_STUDIES
    lower: datetime | None = None
    upper: datetime | None = None
    modalities: tuple[str, ...] = ()

    def within(self, document: StudyDocument, zone: ZoneInfo) -> bool:
        """Whether a study lies in the time and has one of the modalities that are asked for."""
        if self.modalities and not set(self.modalities) & set(document.modalities):
            return False
        if self.lower is None and self.upper is None:
            return True
        if not re.fullmatch(r"\d{8}", document.study_date):
            return False
        digits = re.sub(r"\D.*", "", document.study_time)[:6]
        at = datetime.strptime(document.study_date + digits.ljust(6, "0"), "%Y%m%d%H%M%S").replace(tzinfo=zone)
        lower, upper = (t.replace(tzinfo=zone) if t and t.tzinfo is None else t for t in (self.lower, self.upper))
        return (lower is None or lower <= at) and (upper is None or at <= upper)


def read_request(query: Mapping[str, str]) -> DisplayAsked:
    """The request as its query says.

    Raises
    ------
    DisplayRefused
        400: a parameter is missing or malformed; 406: it asks for a way of display that there is not.
    """
    kind = query.get("requestType", "")
    if kind not in ("STUDY", "PATIENT"):
        raise DisplayRefused(400, "request-type")
    if query.get("viewerType", "") not in VIEWER_TYPES or query.get("keyImagesOnly", "false") == "true":
        raise DisplayRefused(406, "viewer-type")
    if query.get("diagnosticQuality", "true") not in ("true", "false"):
        raise DisplayRefused(400, "diagnostic-quality")
    if kind == "STUDY":
        studies, accessions = _values(query, "studyUID"), _values(query, "accessionNumber")
        if bool(studies) == bool(accessions) or not all(map(is_uid, studies)):
            raise DisplayRefused(400, "study")
        return DisplayAsked(studies=studies, accessions=accessions)
    patient, issuer = read_cx(query.get("patientID", ""))
    recent = query.get("mostRecentResults", str(MAX_STUDIES))
    if not re.fullmatch(r"\d{1,6}", recent) or int(recent) < 1:
        raise DisplayRefused(400, "most-recent-results")
    return DisplayAsked(
        patient=patient,
        issuer=issuer,
        most_recent=min(int(recent), MAX_STUDIES),
        lower=_moment(query, "lowerDateTime"),
        upper=_moment(query, "upperDateTime"),
        modalities=_values(query, "modalitiesInStudy"),
    )


def read_cx(text: str) -> tuple[str, str]:
    """Id and assigning authority of a CX value (HL7 v2 2.A.14): `id^^^namespace&universal id&type`."""
    parts = text.split("^")
    authority = parts[3].split("&") if len(parts) > 3 else [""]
    issuer = next((part for part in authority[:2] if part), "")
    if not re.fullmatch(r"[^\x00-\x1f\\*?]{1,64}", parts[0].strip()) or len(issuer) > 64:
        raise DisplayRefused(400, "patient-id")
    return parts[0].strip(), issuer


async def display_studies(
    index: StudyIndex, audit: AuditTrail, subject: Subject, asked: DisplayAsked, zone: ZoneInfo
) -> list[str]:
    """The studies to display, newest first, of those the subject may see; recorded as the search that it is.

    Raises
    ------
    DisplayRefused
        404: nothing that is asked for is there, or open to the subject.
    """
    resident = ""
    if asked.patient:
        where, resident = await _of_patient(index, subject, asked)
    elif asked.studies:
        where = {"study_uid": {"$in": list(asked.studies)}}
    else:
        where = {"accession": {"$in": list(asked.accessions)}}
    page = await index.search_studies(subject, where, limit=LOOKED_THROUGH, lookahead=0)
    found = [
        row.first["study_uid"] for row in page.rows if asked.within(StudyDocument.model_validate(row.first), zone)
    ][: asked.most_recent]
    await audit.record(
        action="search",
        outcome="success" if found else "denied",
        **who(subject),
        count=len(found),
        reason="invoke-image-display" if found else "nothing-visible",
        resident_id=resident or None,
        purpose=subject.purpose,
    )
    if not found:
        raise DisplayRefused(404, "not-found")
    return found


async def _of_patient(index: StudyIndex, subject: Subject, asked: DisplayAsked) -> tuple[dict[str, Any], str]:
    """The clause for a patient's studies, and the resident it names: never two persons at once.

    Without an issuer an id means the resident; where no resident has studies, a patient of the asker's hospital.
    """
    if asked.issuer in ("", RESIDENT_ISSUER) and re.fullmatch(RESIDENT_PATTERN, asked.patient):
        resident = await index.resident(asked.patient)
        where: dict[str, Any] = {"resident_id": {"$in": list(resident.ids)}}
        if asked.issuer or await index.recent(where, limit=1):
            return where, resident.id
    return {"patient_key": f"{asked.issuer or subject.hospital}^{asked.patient}"}, ""


def _values(query: Mapping[str, str], name: str) -> tuple[str, ...]:
    text = query.get(name, "")
    if text and (len(text) > 2_000 or not _LIST.fullmatch(text)):
        raise DisplayRefused(400, name)
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))[:MAX_STUDIES] if text else ()


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    """An xs:dateTime, or a day."""
    try:
        return datetime.fromisoformat(query[name]) if query.get(name) else None
    except ValueError:
        raise DisplayRefused(400, name) from None
