"""Other studies of the same person that the reader may see, of all hospitals; the same body part first."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.usecases.prefetch_studies import same_person
from imaging_common.access import Subject
from imaging_common.index.model import StudyDocument
from imaging_common.index.read import StudyIndex

MAX_PRIORS = 60


@dataclass(frozen=True, slots=True)
class Prior:
    """One other study, at the holder to show first."""

    document: StudyDocument
    same_part: bool
    later: bool
    """It is younger than the open study."""


async def find_priors(index: StudyIndex, subject: Subject, opened: Sequence[StudyDocument]) -> list[Prior]:
    """The person of the first open study, by the EHR's links where there are any, else by the holder's patient id."""
    if not opened:
        return []
    current = opened[0]
    where = same_person(current)
    if current.resident_id:
        where = {"resident_id": {"$in": list((await index.resident(current.resident_id)).ids)}}
    if not where:
        return []
    page = await index.search_studies(subject, where, limit=MAX_PRIORS, lookahead=0)
    known, parts = {document.study_uid for document in opened}, set(current.body_parts)
    when = (current.study_date, current.study_time)
    priors = []
    for row in page.rows:
        document = StudyDocument.model_validate(row.first)
        if document.study_uid not in known:
            later = (document.study_date, document.study_time) > when
            priors.append(Prior(document, bool(parts & set(document.body_parts)), later))
    return sorted(priors, key=lambda prior: not prior.same_part)
