"""Use cases of the application form: what can be chosen, keep it, submit it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.consult_desk.application import patient_of
from gateway.consult_desk.ports import ConsultDesk, Json
from gateway.usecases.case_studies import case_studies
from gateway.usecases.view_patient import ViewPatient
from gateway.web.present import StudyView, documents_of, row_view, study_view
from imaging_common.access import StudyRef, Subject
from imaging_common.index.model import StudyDocument
from imaging_common.index.read import StudyIndex


@dataclass(frozen=True, slots=True)
class Offered:
    """The studies of the form: those that were named, and the same person's others."""

    named: list[StudyDocument]
    views: list[StudyView]
    """Of all hospitals, the newest first; each names the holder that the form will name."""
    patient: dict[str, str]


class WriteApplication:
    """Reads the person's timeline; nothing is offered that the applicant may not see."""

    def __init__(self, index: StudyIndex, view: ViewPatient, desk: ConsultDesk) -> None:
        self._index = index
        self._view = view
        self._desk = desk

    async def offered(self, subject: Subject, refs: Sequence[StudyRef]) -> Offered | None:
        """None: the first one named cannot be seen."""
        named = await case_studies(self._index, subject, refs)
        if not named:
            return None
        first = named[0]
        wanted = {document.id for document in named}
        views = {document.id: study_view(document) for document in named}
        if first.resident_id:
            record = await self._view.of_resident(subject, first.resident_id)
        elif first.patient_key:
            record = await self._view.of_patient(subject, first.patient_key)
        else:
            record = None
        for row in record.rows if record else ():
            documents = documents_of(row)
            if any(document.id in wanted for document in documents):
                continue
            own = next((d for d in documents if d.holder == subject.hospital), documents[0])
            views[own.id] = study_view(own) if own is not documents[0] else row_view(row, {})
        ordered = sorted(views.values(), key=lambda one: (one.date, one.time), reverse=True)
        return Offered(named, ordered, patient_of(first, study_view(first).name))

    async def all_visible(self, subject: Subject, refs: Sequence[StudyRef]) -> list[StudyDocument] | None:
        """The studies, if the applicant may see every one of them."""
        found = await case_studies(self._index, subject, refs)
        return found if len(found) == len(refs) else None

    async def keep(self, token: str, application: Json, *, draft: str, revision: int, once: str) -> Json:
        """A new draft, or the next revision of a known one: `id`, `revision`, `missing`."""
        if not draft:
            made = await self._desk.start(token, application, once)
            first = {"id": made["id"], "revision": made["application_revision"], "missing": made.get("missing", [])}
            if made["application_revision"] == 1 and _same(made, application):
                return first
            draft, revision = str(made["id"]), int(made["application_revision"])
        kept = await self._desk.save(token, draft, revision, application)
        return {"id": draft, "revision": kept["revision"], "missing": kept.get("missing", [])}


def _same(made: Mapping[str, Any], application: Json) -> bool:
    """Whether a draft holds what was just typed (an earlier answer to the same `once` may have been lost)."""
    return all(made.get(name) == application[name] for name in ("purpose", "chief_complaint", "history", "urgency"))
