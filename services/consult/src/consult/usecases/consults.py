"""Apply for a consult, and take it from state to state: each step one change with its events and audit records."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from consult.errors import InvalidConsult, NotAllowed, NotFound
from consult.model import (
    CONSULT_ID,
    TRANSITIONS,
    Action,
    Application,
    Consult,
    Order,
    Role,
    State,
    Study,
    Target,
    TargetKind,
    WorkingDraft,
    may_see,
    roles_of,
    seen_by,
)
from consult.model.rules import (
    check_application,
    check_complete,
    check_order,
    check_same_target,
    level_above,
    may_apply,
    with_the_target_found,
)
from consult.ports import (
    BoxQuery,
    Change,
    ConsultStore,
    Facts,
    HospitalBook,
    Once,
    Outgoing,
    Policies,
    StudyAccess,
    Writing,
)
from consult.usecases.changes import Doing, changed, stepped
from consult.usecases.escalation import answered, check_one_up, child_of, ended_with
from consult.usecases.joining import Joiner
from consult.usecases.measuring import note_changes
from consult.usecases.outgoing import AUDIT_ACTIONS, outgoing, pins
from consult.usecases.views import CaseView, conflict, time_now, view_of
from imaging_common.audit import Action as AuditAction
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims
from imaging_common.people import Directory, Person

MAX_REPORTS = 200
ATTEMPTS = 8
"""How often a change is made anew because something else of the case (a draft, a file, a limit) changed meanwhile."""
EHR_ROLE = "ehr"
NEEDS_DRAFT = frozenset({Action.REQUEST_REVIEW, Action.APPROVE, Action.ISSUE, Action.ESCALATE})
EMPTY = Order(version=1)


class Consults:
    """The use cases over one store. A look at a case is audited before it is answered, a denial before it is told."""

    def __init__(
        self,
        store: ConsultStore,
        hospitals: HospitalBook,
        audit: AuditTrail,
        directory: Directory,
        policies: Policies,
        studies: StudyAccess,
        joiners: Sequence[Joiner] = (),
    ) -> None:
        self._store = store
        self._hospitals = hospitals
        self._audit = audit
        self._directory = directory
        self._policies = policies
        self._studies = studies
        self._joiners = joiners

    async def apply(
        self, claims: Claims, application: Application, request_key: str | None, *, token: str, draft: bool = False
    ) -> CaseView:
        """Apply for a consult, or keep it as a draft; the same person's same `request_key` makes one case only.

        Raises
        ------
        NotAllowed
            The person may not apply for this.
        InvalidConsult
            It lacks something, the hospital that is asked is not of this region, or the `request_key` stood for
            another application.
        """
        await self._check_application(claims, application, token)
        if not draft:
            check_complete(application)
        digest = hashlib.sha256(f"{draft}/{application.model_dump_json()}".encode()).hexdigest()
        once = Once(f"{claims.user}/{request_key}", digest) if request_key else None
        made = await self._store.find_request(once.key) if once else None
        if made is None:
            consult = await self._new(claims, application, await self._facts(token, application))
            if draft:
                consult = consult.model_copy(update={"version": 1})
                done = await self._store.commit([Change(None, consult)], once=once)
            else:
                changes, writes = await self._transition(None, consult, Action.SUBMIT, EMPTY, claims)
                done = await self._store.commit(changes, once=once, writes=writes)
                consult = changes[0].after
            if done:
                if not draft:
                    note_changes(changes)
                return await self.view(claims, consult)
            made = await self._store.find_request(once.key) if once else None
        if made is None or made.digest != digest:
            raise InvalidConsult("this Idempotency-Key stood for another application")
        return await self.view(claims, made.consult)

    async def save_application(
        self, claims: Claims, consult_id: str, revision: int, application: Application, token: str
    ) -> Consult:
        """Keep an application as it is being written; a save names the revision it was made on."""
        consult = await self.of(claims, consult_id, "apply")
        if consult.state not in (State.DRAFT, State.RETURNED) or consult.application_revision != revision:
            raise conflict(consult)
        if Role.APPLICANT not in roles_of(consult, claims):
            await self.deny(claims, "apply", "not-the-applicant", consult_id)
            raise NotAllowed("only the applicant writes the application")
        if consult.state is State.RETURNED:
            application = with_the_target_found(consult, application)
            check_same_target(consult, application)
        added = [study for study in application.studies if study not in consult.studies]
        await self._check_application(claims, application, token, studies=added)
        update = {name: getattr(application, name) for name in Application.model_fields}
        if application.studies != consult.studies or not consult.modalities:
            update |= await self._facts(token, application)
        by_name = application.target_kind is TargetKind.EXPERT
        kept = consult.model_copy(update={**update, "application_revision": revision + 1, "by_name": by_name})
        if not await self._store.commit([Change(consult, kept, pins(consult, kept))]):
            raise conflict(await self._store.get(consult_id) or consult)
        return kept

    async def get(self, claims: Claims, consult_id: str) -> CaseView:
        """The case; `NotFound` for whoever has no part in it."""
        consult = await self.of(claims, consult_id, "view")
        await self._audit.record(action="view", outcome="success", consult_id=consult_id, **who(claims))
        return await self.view(claims, consult)

    async def box(self, query: BoxQuery) -> tuple[list[Consult], bool]:
        """A page of a box, the newest first, without reports and files, and of the timelines the last step alone; and
        whether there are more."""
        found = await self._store.find(replace(query, limit=query.limit + 1))
        page, more = found[: query.limit], len(found) > query.limit
        await self._audit.record(
            action="search", outcome="success", reason=f"consults-{query.box}", count=len(page), **who(query.claims)
        )
        bare: dict[str, Any] = {"report": None, "attachments": []}
        return [consult.model_copy(update={**bare, "timeline": consult.timeline[-1:]}) for consult in page], more

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

    async def act(
        self, claims: Claims, consult_id: str, action: Action, order: Order, writing: WorkingDraft | None = None
    ) -> CaseView:
        """One row of the table; `writing`: the report that the first save keeps (`draft`).

        Raises
        ------
        NotFound, NotAllowed, InvalidConsult
            The case, the part, or something that is needed is not there.
        Conflict
            The case is not in the version the person saw, or its state does not allow it.
        """
        for _ in range(ATTEMPTS):
            consult = await self._checked(claims, consult_id, action, order)
            changes, writes = await self._transition(consult, consult, action, order, claims)
            if writing is not None:
                writes.append(self._store.draft_write(writing))
            if await self._store.commit(changes, writes=writes):
                note_changes(changes)
                return await self.view(claims, changes[0].after)
        raise conflict(await self._store.get(consult_id) or consult)

    async def of(self, claims: Claims, consult_id: str, action: AuditAction) -> Consult:
        """The case, if the person has a part in it; one that does not exist is answered, and audited, no other way."""
        if not CONSULT_ID.fullmatch(consult_id):
            raise NotFound("there is no such consult")
        consult = await self._store.get(consult_id)
        if consult is None or not may_see(consult, claims):
            await self.deny(claims, action, "no-part-in-consult", consult_id)
            raise NotFound("there is no such consult")
        return consult

    async def view(self, claims: Claims, consult: Consult) -> CaseView:
        """The case as this person sees it, with what they may do."""
        draft = await self._store.latest_draft(consult.id) if consult.expert else None
        needed = await self._policies.second_reader_required(consult, draft.text if draft else None)
        return view_of(seen_by(consult, claims), claims, needed)

    async def deny(
        self, claims: Claims, action: AuditAction, reason: str, consult_id: str | None = None,
        studies: Sequence[Study] = (),
    ) -> None:  # fmt: skip
        """Keep that somebody was refused, before they are."""
        study = studies[0] if studies else None
        await self._audit.record(
            action=action,
            outcome="denied",
            reason=reason,
            **who(claims),
            consult_id=consult_id,
            study_uid=study.study_uid if study else None,
            holder=study.holder if study else None,
            count=len(studies) or 1,
        )

    async def _check_application(
        self, claims: Claims, application: Application, token: str, studies: Sequence[Study] | None = None
    ) -> None:
        wanted = application.studies if studies is None else studies
        if reason := may_apply(claims, application):
            await self.deny(claims, "apply", "may-not-apply", studies=wanted)
            raise NotAllowed(reason)
        check_application(application)
        foreign = [study for study in wanted if study.holder != claims.hospital]
        if foreign and (hidden := await self._studies.hidden(token, foreign)):
            await self.deny(claims, "apply", "study-not-visible", studies=hidden)
            raise NotAllowed("a study that you may not see cannot be sent with this application")
        if application.consultant_hospital and not await self._hospitals.knows(application.consultant_hospital):
            raise InvalidConsult("the hospital that is asked is not registered in this region", ["consultant_hospital"])

    async def _facts(self, token: str, application: Application) -> dict[str, list[str]]:
        """What the case is about, by its studies' headers: for the routing table and the hospitals' policies."""
        found = await self._studies.facts(token, application.studies) if application.studies else Facts()
        return {"modalities": sorted(found.modalities), "body_parts": sorted(found.body_parts)}

    async def _new(self, claims: Claims, application: Application, facts: dict[str, list[str]]) -> Consult:
        now = time_now()
        return Consult(
            id=uuid4().hex,
            number=await self._store.next_number(f"{now:%Y%m%d}"),
            version=0,
            state=State.DRAFT,
            applicant=claims.user,
            applicant_name=claims.name,
            applicant_hospital=claims.hospital,
            created_at=now,
            timeline=[],
            by_name=application.target_kind is TargetKind.EXPERT,
            modalities=facts["modalities"],
            body_parts=facts["body_parts"],
            **{name: getattr(application, name) for name in Application.model_fields},
        )

    async def _checked(self, claims: Claims, consult_id: str, action: Action, order: Order) -> Consult:
        consult = await self.of(claims, consult_id, AUDIT_ACTIONS[action])
        transition = TRANSITIONS[action]
        if consult.version != order.version or consult.state not in transition.sources:
            raise conflict(consult)
        if not roles_of(consult, claims) & transition.roles:
            named = " or ".join(sorted(transition.roles))
            await self.deny(claims, AUDIT_ACTIONS[action], f"not-the-{named.replace(' ', '-')}", consult_id)
            raise NotAllowed(f"only the {named} of this consult can {action} it")
        check_order(consult, action, order)
        return consult

    async def _transition(
        self, before: Consult | None, consult: Consult, action: Action, order: Order, claims: Claims
    ) -> tuple[list[Change], list[Writing]]:
        """Everything that one action changes: the case first, then those it has to do with."""
        now = time_now()
        doing = await self._doing(consult, action, order, claims, now)
        if action is Action.SUBMIT:
            check_complete(consult.application())
        change = changed(doing)
        after = stepped(doing, change)
        others: list[Change] = []
        writes: list[Writing] = []
        event = dict(change.event)
        if action is Action.ESCALATE:
            child = await self._child(doing, writes, others)
            step = after.timeline[-1].model_copy(update={"about": child.number})
            update = {"children": [*after.children, child.id], "timeline": [*after.timeline[:-1], step]}
            after = after.model_copy(update=update)
            event["child_id"] = child.id
        if action is Action.AMEND and consult.report is not None:
            kept = await self._store.draft(consult.id, claims.user)
            begun = WorkingDraft(
                consult_id=consult.id, author=claims.user, author_name=claims.name, saved_at=now,
                revision=kept.revision + 1 if kept else 1, text=consult.report.text(),
            )  # fmt: skip
            writes.append(self._store.draft_write(begun))
        after, sent = await self._join(before, after, action, claims, now, event, writes)
        others += await self._relatives(after, action, claims, now, writes)
        return [Change(before, after, sent), *others], writes

    async def _doing(self, consult: Consult, action: Action, order: Order, claims: Claims, now: datetime) -> Doing:
        person = await self._person(consult, action, order)
        draft = await self._store.latest_draft(consult.id) if action in NEEDS_DRAFT else None
        if action is Action.ISSUE:
            draft = await self._store.draft(consult.id, claims.user)
        needed = action is Action.ISSUE and await self._policies.second_reader_required(
            consult, draft.text if draft else None
        )
        return Doing(consult, action, order, claims, now, person, draft, needed)

    async def _person(self, consult: Consult, action: Action, order: Order) -> Person | None:
        """Whom an action names: an expert, of the hospital that was asked unless it is an opinion beside."""
        own = action in (Action.ASSIGN, Action.REASSIGN, Action.REQUEST_REVIEW)
        user = order.expert if action in (Action.ASSIGN, Action.REASSIGN) else order.member
        if not user or not (own or action is Action.ASK_PANEL):
            return None
        person = await self._directory.person(user)
        if person is None or "expert" not in person.roles:
            raise InvalidConsult("there is no expert of this name")
        if own and person.hospital != consult.consultant_hospital:
            raise InvalidConsult("this expert is not of the hospital that was asked")
        if order.expert_hospital and person.hospital != order.expert_hospital:
            raise InvalidConsult("this expert is of another hospital")
        return person

    async def _join(
        self, before: Consult | None, after: Consult, action: Action, claims: Claims, now: datetime,
        event: dict[str, Any], writes: list[Writing],
    ) -> tuple[Consult, Outgoing]:  # fmt: skip
        """Let the other parts of the service add theirs, then tell the whole."""
        sent: list[Any] = []
        for joiner in self._joiners:
            joined = await joiner.join(before, after, action, claims, now)
            after = joined.consult
            sent += joined.outgoing
            writes += joined.writes
        if action is Action.SUBMIT:
            after = await self._addressed(after)
        return after, [*outgoing(before, after, action, claims, now, event), *sent]

    async def _addressed(self, consult: Consult) -> Consult:
        """A submitted case has somebody it goes to."""
        level = await self._hospitals.level(consult.consultant_hospital) if consult.consultant_hospital else None
        if level is None:
            raise InvalidConsult("nobody could be found for this case: name a hospital", ["consultant_hospital"])
        if consult.consultant_hospital == consult.applicant_hospital:
            raise InvalidConsult("a hospital does not ask itself: name another", ["consultant_hospital"])
        by_name = consult.by_name or level == "outside" or consult.target_kind is TargetKind.EXPERT
        if by_name and not consult.nominee:
            raise InvalidConsult("only named people see this case: name the expert", ["nominee"])
        return consult.model_copy(update={"by_name": by_name})

    async def _child(self, doing: Doing, writes: list[Writing], others: list[Change]) -> Consult:
        parent, order, now = doing.consult, doing.order, doing.now
        target = (order.target or Target()).model_dump()
        level = await self._hospitals.level(parent.consultant_hospital)
        named = target["consultant_hospital"]
        check_one_up(level, await self._hospitals.level(named) if named else level_above(level or "outside"))
        number = await self._store.next_number(f"{now:%Y%m%d}")
        child = child_of(parent, number, target, order, doing.claims, now, doing.draft)
        child, sent = await self._join(None, child, Action.SUBMIT, doing.claims, now, {}, writes)
        check_one_up(level, await self._hospitals.level(child.consultant_hospital))
        others.append(Change(None, child, sent))
        return child

    async def _relatives(
        self, after: Consult, action: Action, claims: Claims, now: datetime, writes: list[Writing]
    ) -> list[Change]:
        """The case it came from gets the report as an opinion; the cases one level up end with it."""
        if action is Action.ISSUE and after.parent_id:
            return await self._answer(after, claims, now, writes)
        if action not in (Action.WITHDRAW, Action.REJECT):
            return []
        changes: list[Change] = []
        for child_id in after.children:
            child = await self._store.get(child_id)
            ended = ended_with(after, child, claims, now) if child else None
            if child is not None and ended is not None:
                ended, sent = await self._join(child, ended, Action.WITHDRAW, claims, now, {}, writes)
                changes.append(Change(child, ended, sent))
                changes += await self._relatives(ended, Action.WITHDRAW, claims, now, writes)
        return changes

    async def _answer(self, child: Consult, claims: Claims, now: datetime, writes: list[Writing]) -> list[Change]:
        parent = await self._store.get(child.parent_id)
        after = answered(parent, child, claims, now) if parent else None
        if parent is None or after is None:
            return []
        event = {"member": after.opinions[-1].by}
        after, sent = await self._join(parent, after, Action.GIVE_OPINION, claims, now, event, writes)
        return [Change(parent, after, sent)]
