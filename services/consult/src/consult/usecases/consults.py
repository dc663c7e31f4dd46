"""Apply for a consult, and take it from state to state: each step one change with its events and audit records."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from consult.errors import Conflict, InvalidConsult, NotAllowed, NotFound
from consult.model import (
    CONSULT_ID,
    TRANSITIONS,
    Action,
    Application,
    Consult,
    Report,
    ReportText,
    State,
    Step,
    Study,
    has_role,
    may_apply,
    may_see,
)
from consult.ports import ConsultStore, HospitalBook
from consult.usecases.outgoing import AUDIT_ACTIONS, outgoing
from imaging_common.audit import Action as AuditAction
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims

MAX_REPORTS = 200
EHR_ROLE = "ehr"


class Consults:
    """The use cases over one store. A look at a case is audited before it is answered, a denial before it is told."""

    def __init__(self, store: ConsultStore, hospitals: HospitalBook, audit: AuditTrail) -> None:
        self._store = store
        self._hospitals = hospitals
        self._audit = audit

    async def submit(self, claims: Claims, application: Application, request_key: str | None) -> Consult:
        """Apply for a consult; the same person's same `request_key` makes one case only.

        Raises
        ------
        NotAllowed
            The person may not apply for this.
        InvalidConsult
            The hospital that is asked is not of this region, or the `request_key` stood for another application.
        """
        if reason := may_apply(claims, application):
            await self._deny(claims, "apply", "may-not-apply", application=application)
            raise NotAllowed(reason)
        if not await self._hospitals.knows(application.consultant_hospital):
            raise InvalidConsult("the hospital that is asked is not registered in this region")
        key = f"{claims.user}/{request_key}" if request_key else None
        made = await self._store.find_request(key) if key else None
        if made is None:
            consult = await self._new(claims, application)
            now = consult.timeline[0].at
            made = await self._store.insert(consult, outgoing(consult, Action.SUBMIT, claims, now), key)
        if made.application() != application:
            raise InvalidConsult("this Idempotency-Key stood for another application")
        return made.seen_by(claims.user)

    async def get(self, claims: Claims, consult_id: str) -> Consult:
        """The case; `NotFound` for whoever has no part in it."""
        consult = await self._of(claims, consult_id, "view")
        await self._audit.record(action="view", outcome="success", consult_id=consult_id, **who(claims))
        return consult.seen_by(claims.user)

    async def box(
        self, claims: Claims, *, box: str, state: State | None, limit: int, offset: int
    ) -> tuple[list[Consult], bool]:
        """The cases a person's hospital sent or received, the newest first, without reports; and if there are more.

        Doctors see what was sent, experts what was received, coordinators both.
        """
        allowed = {"doctor" if box == "sent" else "expert", "coordinator"}
        if not claims.hospital or not claims.roles & allowed:
            return [], False
        sent, received = (claims.hospital, None) if box == "sent" else (None, claims.hospital)
        found = await self._store.find(
            applicant_hospital=sent, consultant_hospital=received, state=state, limit=limit + 1, offset=offset
        )
        page, more = found[:limit], len(found) > limit
        await self._audit.record(
            action="search", outcome="success", reason=f"consults-{box}", count=len(page), **who(claims)
        )
        return [consult.model_copy(update={"report": None}) for consult in page], more

    async def reports(self, claims: Claims, studies: Sequence[Study], consult_id: str | None) -> list[Consult]:
        """Cases with an issued report on these studies, as far as somebody may read it: the case's parties, and the EHR
        that keeps the residents' records."""
        if consult_id is not None and not CONSULT_ID.fullmatch(consult_id):
            return []
        found = await self._store.with_reports(studies, consult_id, MAX_REPORTS)
        readable = [case for case in found if EHR_ROLE in claims.roles or may_see(case, claims)]
        await self._audit.record(
            action="search", outcome="success", reason="consult-reports", **who(claims),
            count=len(readable),
        )  # fmt: skip
        return readable

    async def act(self, claims: Claims, consult_id: str, action: Action, version: int, reason: str = "") -> Consult:
        """Accept, reject, withdraw or acknowledge."""
        consult = await self._checked(claims, consult_id, action, version)
        change: dict[str, Any] = {}
        if action is Action.ACCEPT:
            change = {"expert": claims.user, "expert_name": claims.name}
        if action is Action.REJECT and not reason.strip():
            raise InvalidConsult("a reason is needed: the applicant must know what to do next")
        return await self._advance(claims, consult, action, reason.strip(), change)

    async def draft(self, claims: Claims, consult_id: str, version: int, text: ReportText) -> Consult:
        """Keep the report as it is being written."""
        consult = await self._checked(claims, consult_id, Action.DRAFT, version)
        report_id = consult.report.id if consult.report else uuid4().hex
        report = Report(id=report_id, author=claims.user, author_name=claims.name, **text.model_dump())
        return await self._advance(claims, consult, Action.DRAFT, "", {"report": report})

    async def issue(self, claims: Claims, consult_id: str, version: int) -> Consult:
        """Make the drafted report final."""
        consult = await self._checked(claims, consult_id, Action.ISSUE, version)
        report = consult.report
        if report is None or not report.findings.strip() or not report.impression.strip():
            raise InvalidConsult("findings and impression are needed before a report can be issued")
        final = report.model_copy(update={"issued_at": _now()})
        return await self._advance(claims, consult, Action.ISSUE, "", {"report": final})

    async def _new(self, claims: Claims, application: Application) -> Consult:
        now = _now()
        return Consult(
            id=uuid4().hex,
            number=await self._store.next_number(f"{now:%Y%m%d}"),
            version=1,
            state=State.SUBMITTED,
            applicant=claims.user,
            applicant_name=claims.name,
            applicant_hospital=claims.hospital,
            timeline=[_step(claims, Action.SUBMIT, State.SUBMITTED, now, "")],
            **application.model_dump(),
        )

    async def _of(self, claims: Claims, consult_id: str, action: AuditAction) -> Consult:
        """The case, if the person has a part in it; one that does not exist is answered, and audited, no other way."""
        if not CONSULT_ID.fullmatch(consult_id):
            raise NotFound("there is no such consult")
        consult = await self._store.get(consult_id)
        if consult is None or not may_see(consult, claims):
            await self._deny(claims, action, "no-part-in-consult", consult_id=consult_id)
            raise NotFound("there is no such consult")
        return consult

    async def _checked(self, claims: Claims, consult_id: str, action: Action, version: int) -> Consult:
        consult = await self._of(claims, consult_id, AUDIT_ACTIONS[action])
        transition = TRANSITIONS[action]
        if consult.version != version or consult.state not in transition.sources:
            raise conflict(consult)
        if not has_role(consult, transition.role, claims):
            await self._deny(claims, AUDIT_ACTIONS[action], f"not-the-{transition.role}", consult_id=consult_id)
            raise NotAllowed(f"only the {transition.role} of this consult can {action} it")
        return consult

    async def _advance(
        self, claims: Claims, consult: Consult, action: Action, reason: str, change: dict[str, Any]
    ) -> Consult:
        now = _now()
        target = TRANSITIONS[action].target
        timeline = list(consult.timeline)
        if not (action is Action.DRAFT and consult.state is State.DRAFTED):
            timeline.append(_step(claims, action, target, now, reason))
        update = {**change, "state": target, "version": consult.version + 1, "timeline": timeline}
        changed = consult.model_copy(update=update)
        if not await self._store.replace(changed, consult.version, outgoing(changed, action, claims, now)):
            raise conflict(await self._store.get(consult.id) or consult)
        return changed.seen_by(claims.user)

    async def _deny(
        self,
        claims: Claims,
        action: AuditAction,
        reason: str,
        *,
        consult_id: str | None = None,
        application: Application | None = None,
    ) -> None:
        study = application.studies[0] if application else None
        await self._audit.record(
            action=action,
            outcome="denied",
            reason=reason,
            **who(claims),
            consult_id=consult_id,
            study_uid=study.study_uid if study else None,
            holder=study.holder if study else None,
            count=len(application.studies) if application else 1,
        )


def conflict(consult: Consult) -> Conflict:
    """Who was faster, and where the case is now."""
    last = consult.timeline[-1]
    text = f"the consult is {consult.state} now (version {consult.version}), changed by {last.name or last.user}"
    return Conflict(text, consult.version, consult.state, last.name or last.user)


def _now() -> datetime:
    """The time in whole milliseconds, as MongoDB keeps it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _step(claims: Claims, action: Action, state: State, now: datetime, reason: str) -> Step:
    return Step(at=now, user=claims.user, name=claims.name, action=action, state=state, reason=reason)
