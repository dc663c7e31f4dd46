"""The studies of a case, as far as somebody may see them now."""

from collections.abc import Sequence

from gateway.model import may_view
from imaging_common.access import StudyRef, Subject
from imaging_common.ids import is_uid
from imaging_common.index.model import StudyDocument
from imaging_common.index.read import StudyIndex

MAX_STUDIES = 50
MAX_PRIORS = 10


def read_refs(texts: Sequence[str]) -> list[StudyRef]:
    """References written `<holder>/<study>`; malformed ones name nothing that exists, so they are kept out."""
    parts = [text.partition("/") for text in dict.fromkeys(texts)]
    return [StudyRef(uid, holder) for holder, _, uid in parts if holder and is_uid(uid)][:MAX_STUDIES]


async def case_studies(index: StudyIndex, subject: Subject, refs: Sequence[StudyRef]) -> list[StudyDocument]:
    """The documents of those studies that the access rule opens to the subject."""
    found: list[StudyDocument] = []
    for ref in refs:
        found += [document for document in await index.holders_of(ref.study_uid) if document.holder == ref.holder]
    return [document for document in found if may_view(subject, document)]


async def prior_studies(index: StudyIndex, subject: Subject, studies: Sequence[StudyDocument]) -> list[StudyDocument]:
    """Other studies of the same patient at the same holder, newest first."""
    first = studies[0]
    if not first.patient.id:
        return []
    where = {"holder": first.holder, "patient.id": first.patient.id, "patient.issuer": first.patient.issuer}
    page = await index.search_studies(subject, where, limit=MAX_PRIORS + len(studies))
    known = {study.id for study in studies}
    documents = [StudyDocument.model_validate(document) for row in page.rows for document in row.documents]
    return [document for document in documents if document.id not in known][:MAX_PRIORS]
