"""Opens studies for somebody: the access rule, asked per (study, holder), and its audit record before any byte.

One record per (session, study, holder, right) and kind: a series of 600 frame requests is one act of viewing. Who has
no session (a program with a bearer token) has one record an hour.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.exceptions import HTTPException

from gateway.model import study_ref
from gateway.retrievals.model import VIEW, WORKSTATION
from imaging_common.access import Action, Subject, decide
from imaging_common.access.rule import EDGE_ROLE
from imaging_common.audit import Action as AuditAction
from imaging_common.audit import AuditTrail, Outcome, who
from imaging_common.ids import is_uid
from imaging_common.index.model import StudyDocument
from imaging_common.index.read import StudyIndex

STUDIES_FRESH_SECONDS = 1.0
MAX_REMEMBERED = 10_000
NOT_FOUND = "There is no such resource."


@dataclass(frozen=True, slots=True)
class OpenStudy:
    """A study somebody may see: its holders, the asker's own hospital first, then the fullest."""

    study_uid: str
    holders: tuple[StudyDocument, ...]
    priority: int = VIEW
    """How urgent what the asker wants is, where it must be brought first."""

    @property
    def keys(self) -> list[str]:
        """`<holder>/<study>` of each holder."""
        return [document.id for document in self.holders]

    @property
    def elsewhere(self) -> frozenset[str]:
        """Keys of those holders' studies whose bytes need not lie in the centre."""
        return frozenset(document.id for document in self.holders if document.tier != "central")

    @property
    def etag(self) -> str:
        """Changes whenever any of the holders' documents does."""
        text = "|".join(f"{d.id} {d.version.epoch}.{d.version.n}" for d in self.holders)
        return f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'


class StudyDoor:
    """Every request for images goes through here."""

    def __init__(self, index: StudyIndex, audit: AuditTrail) -> None:
        self._index = index
        self._audit = audit
        self._fresh: OrderedDict[str, tuple[float, list[StudyDocument]]] = OrderedDict()
        self._recorded: OrderedDict[str, asyncio.Task[None]] = OrderedDict()

    async def open(
        self,
        subject: Subject,
        study_uid: str,
        holder: str | None,
        *,
        action: AuditAction = "view",
        fresh: bool = True,
        preview: bool = False,
    ) -> OpenStudy:
        """The study, as far as the subject may see it; recorded durably.

        Parameters
        ----------
        preview
            A small picture in a list is all that is wanted: no view of the study, but part of a search. One record
            per session and resident says so, per study where nobody knows whose it is.

        Raises
        ------
        HTTPException
            404: absent or denied, which nobody can tell apart.
        """
        if not is_uid(study_uid):
            raise HTTPException(404, NOT_FOUND)
        if EDGE_ROLE in subject.roles and action == "view":
            action = "retrieve"
        documents = await self._holders(study_uid, fresh=fresh)
        if holder is not None:
            documents = [document for document in documents if document.holder == holder]
        decisions = [(document, decide(subject, Action.VIEW, study_ref(document))) for document in documents]
        allowed = [(document, decision) for document, decision in decisions if decision.allowed]
        if not allowed:
            refused = [(document.holder, decision.reason) for document, decision in decisions]
            for at, reason in refused or [(holder or "", "no-such-study")]:
                await self._record(subject, study_uid, action=action, outcome="denied", holder=at, reason=reason)
            raise HTTPException(404, NOT_FOUND)
        for document, decision in allowed:
            known = preview and document.resident_id is not None
            await self._record(
                subject,
                None if known else study_uid,
                action="search" if preview else action,
                outcome="success",
                holder=None if known else document.holder,
                reason="thumbnails" if preview else decision.reason,
                resident_id=document.resident_id,
                grant_id=decision.grant_id or None,
            )
        found = [document for document, _ in allowed]
        found.sort(key=lambda d: (d.holder != subject.hospital, -d.instance_count, d.holder))
        priority = WORKSTATION if EDGE_ROLE in subject.roles else VIEW
        return OpenStudy(study_uid, tuple(found), priority)

    async def searched(self, subject: Subject, count: int) -> None:
        """Record a search over studies."""
        await self._audit.record(
            action="search",
            outcome="success",
            count=count,
            purpose=subject.purpose,
            source=subject.source,
            **who(subject),
        )

    async def _holders(self, study_uid: str, *, fresh: bool) -> list[StudyDocument]:
        now = time.monotonic()
        known = self._fresh.get(study_uid)
        if not fresh and known is not None and now - known[0] < STUDIES_FRESH_SECONDS:
            return known[1]
        documents = await self._index.holders_of(study_uid)
        if documents:
            self._fresh[study_uid] = (now, documents)
            self._fresh.move_to_end(study_uid)
            if len(self._fresh) > MAX_REMEMBERED:
                self._fresh.popitem(last=False)
        return documents

    async def _record(
        self,
        subject: Subject,
        study_uid: str | None,
        *,
        action: AuditAction,
        outcome: Outcome,
        holder: str | None,
        reason: str,
        resident_id: str | None = None,
        grant_id: str | None = None,
    ) -> None:
        """Record once per session; requests that come while the record is on its way wait for it too."""
        session = subject.session or f"hour-{int(time.time() // 3600)}"
        about = study_uid or f"resident {resident_id}"
        name = "|".join((subject.user, session, about, holder or "", action, outcome, reason, grant_id or ""))
        task = self._recorded.get(name)
        if task is None:
            audit_id = hashlib.sha256(name.encode()).hexdigest()[:32]
            task = asyncio.create_task(
                self._audit.record(
                    audit_id=audit_id,
                    action=action,
                    outcome=outcome,
                    **who(subject),
                    study_uid=study_uid,
                    holder=holder,
                    reason=reason,
                    resident_id=resident_id,
                    grant_id=grant_id,
                    purpose=subject.purpose,
                    source=subject.source,
                )
            )
            self._recorded[name] = task
            if len(self._recorded) > MAX_REMEMBERED:
                self._recorded.popitem(last=False)
        if task.done() and not task.cancelled() and task.exception() is None:
            return
        try:
            await asyncio.shield(task)
        except Exception:
            self._recorded.pop(name, None)
            raise
