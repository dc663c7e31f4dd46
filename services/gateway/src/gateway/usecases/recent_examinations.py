"""Recent examinations of somebody that may make a new order needless: same kind of image, same part of the body."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from gateway.fhir.names import alike_modalities, alike_parts
from imaging_common.access import Subject
from imaging_common.index.read import Row, StudyIndex

DAYS = 90
MAX_DAYS = 3650
SHOWN = 10
LOOKED_AT = 100


async def recent_examinations(
    index: StudyIndex,
    subject: Subject,
    person: Mapping[str, Any],
    *,
    today: date,
    modalities: Iterable[str] = (),
    body_parts: Iterable[str] = (),
    days: int = DAYS,
    limit: int = SHOWN,
) -> list[Row]:
    """Studies of the person that the subject may see, newest first, one row per Study Instance UID.

    Parameters
    ----------
    person
        The clause for the person's studies.
    modalities, body_parts
        What is to be ordered; empty: any. A study that says no body part may be the one.
    days
        So far back from `today`, in the region's zone.
    """
    first = today - timedelta(days=min(max(days, 0), MAX_DAYS))
    where: list[Mapping[str, Any]] = [person, {"study_date": {"$ne": "", "$gte": first.isoformat().replace("-", "")}}]
    if wanted := alike_modalities(modalities):
        where.append({"modalities": {"$in": sorted(wanted)}})
    page = await index.search_studies(subject, {"$and": where}, limit=LOOKED_AT, lookahead=0)
    parts = alike_parts(body_parts)
    return [row for row in page.rows if _may_show(row, parts)][:limit]


def _may_show(row: Row, parts: frozenset[str]) -> bool:
    said = {part for document in row.documents for part in document.get("body_parts", [])}
    return not parts or not said or bool(parts & said)


async def person_typed(index: StudyIndex, hospital: str, typed: str) -> tuple[str, dict[str, Any]]:
    """(resident, clause) of whom an order is for: a patient id of the own hospital, or a resident's id.

    Whoever the hospital's patient is linked to is the same person at other hospitals.
    """
    own = {"holder": hospital, "patient.id": typed}
    known = await index.recent(own, limit=LOOKED_AT)
    resident = await index.resident(next((study.resident_id for study in known if study.resident_id), typed))
    return resident.id if known else typed, {"$or": [own, {"resident_id": {"$in": list(resident.ids)}}]}
