"""A reader saves measurements: to the holder of the study they belong to, so that whoever sees the study sees them."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from gateway.dicomweb.annotations import (
    ANNOTATION_MODALITIES,
    DOES_NOT_MATCH,
    PROCESSING_FAILURE,
    Annotation,
    Refusal,
    judge_part,
    refuse,
)
from gateway.errors import IngestRefused
from gateway.model import may_view
from gateway.ports import InstanceStore
from imaging_common.access import Subject
from imaging_common.access.rule import IMAGE_ROLES
from imaging_common.audit import AuditTrail, Outcome, who
from imaging_common.index.model import StudyDocument
from imaging_common.index.read import StudyIndex

NO_STUDY = "there is no such study"


class StoreAnnotations:
    """The use case behind `POST /dicomweb/studies`."""

    def __init__(self, index: StudyIndex, store: InstanceStore, audit: AuditTrail, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._index = index
        self._store = store
        self._audit = audit

    @staticmethod
    def allowed(subject: Subject) -> bool:
        """Whether the reader may store at all: with a role for images, which no window of an EHR or link has."""
        return bool(subject.roles & IMAGE_ROLES)

    async def refused(self, subject: Subject, study_uid: str | None, reason: str) -> None:
        """Record that somebody may not."""
        await self._record(subject, study_uid, None, "denied", 0, reason, None)

    async def find(self, subject: Subject, study_uid: str, holder: str | None) -> list[StudyDocument]:
        """The study at each holder where the reader may see it, the own hospital first; a denial is recorded."""
        documents = [
            document
            for document in await self._index.holders_of(study_uid)
            if holder in (None, document.holder) and may_view(subject, document)
        ]
        if not documents:
            await self.refused(subject, study_uid, "no-grant")
        return sorted(documents, key=lambda d: (d.holder != subject.hospital, -d.instance_count, d.holder))

    async def __call__(
        self, subject: Subject, parts: Sequence[bytes], study_uid: str | None, holder: str | None
    ) -> tuple[list[dict[str, Any]], list[Refusal]]:
        """Judge each part, send what passes to the ingest; the ingest's answers, and what was refused here.

        Parameters
        ----------
        study_uid
            The study that the address names; None: any.
        holder
            The holder that the address names; None: any that the reader may see it at.

        Raises
        ------
        IngestUnavailable
            Nothing is known to be stored; the reader may try again, the same bytes change nothing twice.
        IngestRefused
            The ingest takes nothing at all.
        PublishFailed
            The audit record is not durable.
        """
        judged = await asyncio.to_thread(lambda: [judge_part(part, study_uid) for part in parts])
        refused = [one for one in judged if isinstance(one, Refusal)]
        taken: dict[tuple[str, str], list[Annotation]] = defaultdict(list)
        for one in judged:
            if isinstance(one, Annotation):
                place = await self._place(one, await self.find(subject, one.study_uid, holder))
                if isinstance(place, Refusal):
                    refused.append(place)
                else:
                    taken[place, one.study_uid].append(one)
        answers = [await self._send(subject, holder, study, group) for (holder, study), group in taken.items()]
        return answers, refused

    async def _place(self, annotation: Annotation, documents: Sequence[StudyDocument]) -> str | Refusal:
        """The holder to store at."""
        if not documents:
            return refuse(annotation, PROCESSING_FAILURE, NO_STUDY)
        same = [document for document in documents if document.patient.id.strip() == annotation.patient_id]
        if not same:
            return refuse(annotation, DOES_NOT_MATCH, "it names another patient than the study")
        series = await self._index.series_of([document.id for document in documents])
        into = {one.modality for one in series if one.series_uid == annotation.series_uid}
        if into - ANNOTATION_MODALITIES:
            return refuse(annotation, DOES_NOT_MATCH, "its series holds images")
        return same[0].holder

    async def _send(self, subject: Subject, holder: str, study_uid: str, group: Sequence[Annotation]) -> dict[str, Any]:
        files = [one.data for one in group]
        name = hashlib.sha256(b"".join(files) + subject.user.encode()).hexdigest()[:32]
        try:
            answer = await self._store.store(holder, study_uid, files, user=subject.user, hospital=subject.hospital)
        except IngestRefused as error:
            await self._record(subject, study_uid, holder, "failed", len(files), f"ingest-{error.status}", None)
            raise
        stored = len(answer.get("00081199", {}).get("Value", []))
        outcome: Outcome = "success" if stored else "failed"
        reason = "" if stored == len(files) else "not-all-stored"
        await self._record(subject, study_uid, holder, outcome, stored, reason, f"annotate-{name}")
        return answer

    async def _record(
        self,
        subject: Subject,
        study_uid: str | None,
        holder: str | None,
        outcome: Outcome,
        count: int,
        reason: str,
        audit_id: str | None,
    ) -> None:
        await self._audit.record(
            action="annotate",
            outcome=outcome,
            **who(subject),
            purpose=subject.purpose,
            study_uid=study_uid,
            holder=holder,
            count=count,
            reason=reason,
            audit_id=audit_id,
        )
