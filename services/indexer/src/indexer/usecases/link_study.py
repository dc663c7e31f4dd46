"""A study's patient, and which resident that is, looked up in the transaction that changes the study."""

from indexer.model import Document
from indexer.ports import StudyUnit
from indexer.residents import UNLINKED, patient_key


async def link_study(unit: StudyUnit, study: Document, before: Document | None, *, relink: bool) -> None:
    """Set the patient a study belongs to, and who that is, in the study's own transaction.

    The issuer of the patient id is the study's holder, unless Issuer of Patient ID (0010,0021) names another hospital
    of the region. Reading the link touches it, so a link that changes meanwhile meets this transaction by conflict.
    """
    issuer = str(study["patient"]["issuer"])
    known = before is not None and "patient_key" in before and before["patient"]["issuer"] == issuer
    if known and before is not None and before["patient"]["id"] == study["patient"]["id"] and not relink:
        return
    if issuer == study["holder"] or not issuer or not await unit.is_hospital(issuer):
        issuer = study["holder"]
    key = patient_key(issuer, study["patient"]["id"])
    link = await unit.link(key) if key else UNLINKED
    study |= {"patient_key": key, **link._asdict()}
