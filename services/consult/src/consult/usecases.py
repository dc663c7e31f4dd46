"""Apply for a consult, and take it from state to state: each step one change, one event, one audit record."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from consult.errors import Conflict, InvalidConsult, NotAllowed, NotFound
from consult.model import (
    ENDED,
    TRANSITIONS,
    Action,
    Application,
    Consult,
    Report,
    ReportText,
    State,
    Step,
    has_role,
    may_apply,
    may_see,
)
from consult.ports import ConsultStore
from imaging_common.audit import TOPIC as AUDIT_TOPIC
from imaging_common.auth import Claims
from imaging_common.events import (
    AuditRecorded,
    ConsultAccepted,
    ConsultAcknowledged,
    ConsultEvent,
    ConsultRejected,
    ConsultSubmitted,
    ConsultWithdrawn,
    Event,
    ReportIssued,
    StudyPinned,
    StudyReleased,
    Version,
)

SERVICE = "consult"
EVENT_OF: dict[Action, type[ConsultEvent]] = {
    Action.SUBMIT: ConsultSubmitted,
    Action.ACCEPT: ConsultAccepted,
    Action.REJECT: ConsultRejected,
    Action.WITHDRAW: ConsultWithdrawn,
    Action.ISSUE: ReportIssued,
    Action.ACKNOWLEDGE: ConsultAcknowledged,
}
"""A draft is the expert's own and tells nobody."""
AUDIT_ACTIONS = {Action.SUBMIT: "apply"}
REPORT_EVENTS = (ReportIssued,)


class Consults:
    """The use cases over one store."""

    def __init__(self, store: ConsultStore) -> None:
        self._store = store

    async def submit(self, claims: Claims, application: Application, request_key: str | None) -> Consult:
        """Apply for a consult; the same person's same `request_key` makes one case only.

        Raises
        ------
        NotAllowed
            The person may not apply for this.
        """
        if reason := may_apply(claims, application):
            raise NotAllowed(reason)
        now = datetime.now(UTC)
        consult = Consult(
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
        key = f"{claims.user}/{request_key}" if request_key else None
        return await self._store.insert(consult, outgoing(consult, Action.SUBMIT, claims, now), key)

    async def get(self, claims: Claims, consult_id: str) -> Consult:
        """The case; `NotFound` for whoever has no part in it. A draft report is seen by its author only."""
        consult = await self._store.get(consult_id)
        if consult is None or not may_see(consult, claims):
            raise NotFound("there is no such consult")
        if consult.state is State.DRAFTED and claims.user != consult.expert:
            return consult.model_copy(update={"report": None})
        return consult

    async def box(self, claims: Claims, *, box: str, state: State | None, limit: int, offset: int) -> list[Consult]:
        """The cases a person's hospital sent or received."""
        if not claims.hospital or not claims.roles & ({"doctor"} if box == "sent" else {"expert"}):
            return []
        sent, received = (claims.hospital, None) if box == "sent" else (None, claims.hospital)
        found = await self._store.find(
            applicant_hospital=sent, consultant_hospital=received, state=state, limit=limit, offset=offset
        )
        return [consult.model_copy(update={"report": None}) for consult in found]

    async def act(self, claims: Claims, consult_id: str, action: Action, version: int, reason: str = "") -> Consult:
        """Accept, reject, withdraw or acknowledge."""
        consult = await self._checked(claims, consult_id, action, version)
        change: dict[str, Any] = {}
        if action is Action.ACCEPT:
            change = {"expert": claims.user, "expert_name": claims.name}
        if action is Action.REJECT and not reason.strip():
            raise InvalidConsult("a reason is needed: the applicant must know what to do next")
        return await self._advance(claims, consult, action, reason, change)

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
        final = report.model_copy(update={"issued_at": datetime.now(UTC)})
        return await self._advance(claims, consult, Action.ISSUE, "", {"report": final})

    async def _checked(self, claims: Claims, consult_id: str, action: Action, version: int) -> Consult:
        consult = await self._store.get(consult_id)
        if consult is None or not may_see(consult, claims):
            raise NotFound("there is no such consult")
        transition = TRANSITIONS[action]
        if consult.version != version or consult.state not in transition.sources:
            raise conflict(consult)
        if not has_role(consult, transition.role, claims):
            raise NotAllowed(f"only the {transition.role} of this consult can {action} it")
        return consult

    async def _advance(
        self, claims: Claims, consult: Consult, action: Action, reason: str, change: dict[str, Any]
    ) -> Consult:
        now = datetime.now(UTC)
        target = TRANSITIONS[action].target
        timeline = list(consult.timeline)
        if not (action is Action.DRAFT and consult.state is State.DRAFTED):
            timeline.append(_step(claims, action, target, now, reason))
        update = {**change, "state": target, "version": consult.version + 1, "timeline": timeline}
        changed = consult.model_copy(update=update)
        if not await self._store.replace(changed, consult.version, outgoing(changed, action, claims, now)):
            raise conflict(await self._store.get(consult.id) or consult)
        return changed


def conflict(consult: Consult) -> Conflict:
    """Who was faster, and where the case is now."""
    last = consult.timeline[-1]
    text = f"the consult is {consult.state} now (version {consult.version}), changed by {last.name or last.user}"
    return Conflict(text, consult.version, consult.state, last.name or last.user)


def outgoing(consult: Consult, action: Action, claims: Claims, now: datetime) -> list[tuple[str, Event, str]]:
    """Every event a step sends: the transition, the audit record, and what the archive must keep at hand."""
    events: list[tuple[str, Event, str]] = []
    if event_type := EVENT_OF.get(action):
        topic = "report-changed" if event_type in REPORT_EVENTS else "consult-changed"
        events.append((topic, _event(event_type, consult, now), consult.id))
    events.append((AUDIT_TOPIC, _audit(consult, action, claims, now), SERVICE))
    if action is Action.SUBMIT or consult.state in ENDED:
        kind = StudyPinned if action is Action.SUBMIT else StudyReleased
        for study in consult.studies:
            pin = kind(study_uid=study.study_uid, holder=study.holder, case_id=consult.id)
            events.append(("study-used", pin, study.study_uid))
    return events


def _event(event_type: type[ConsultEvent], consult: Consult, now: datetime) -> ConsultEvent:
    fields: dict[str, Any] = {
        "consult_id": consult.id,
        "number": consult.number,
        "version": Version(epoch=1, n=consult.version),
        "state": consult.state,
        "applicant": consult.applicant,
        "applicant_hospital": consult.applicant_hospital,
        "consultant_hospital": consult.consultant_hospital,
        "expert": consult.expert,
        "studies": [study.model_dump() for study in consult.studies],
        "urgency": consult.urgency,
        "at": now,
        "reason": consult.timeline[-1].reason,
    }
    if consult.report is not None:
        fields |= {"report_id": consult.report.id, "report_version": consult.report.version}
    return event_type.model_validate(fields)


def _audit(consult: Consult, action: Action, claims: Claims, now: datetime) -> AuditRecorded:
    return AuditRecorded.model_validate(
        {
            "audit_id": f"{consult.id}-{consult.version}",
            "service": SERVICE,
            "action": AUDIT_ACTIONS.get(action, str(action)),
            "outcome": "success",
            "user": claims.user,
            "hospital": claims.hospital,
            "consult_id": consult.id,
            "study_uid": consult.studies[0].study_uid,
            "holder": consult.studies[0].holder,
            "at": now,
        }
    )


def _step(claims: Claims, action: Action, state: State, now: datetime, reason: str) -> Step:
    return Step(at=now, user=claims.user, name=claims.name, action=action, state=state, reason=reason)
