"""What each action changes in a case beside its state. Pure: people were looked up, and rules asked, before."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from consult.errors import InvalidConsult
from consult.model import (
    TRANSITIONS,
    Action,
    Consult,
    Member,
    Opinion,
    Order,
    Report,
    Signature,
    State,
    Step,
    WorkingDraft,
)
from consult.model.rules import check_issue, check_report, check_second_reader
from imaging_common.auth import Claims
from imaging_common.people import Person


@dataclass(frozen=True, slots=True)
class Doing:
    """One action: who does what to which case, and what was found out for it."""

    consult: Consult
    action: Action
    order: Order
    claims: Claims
    now: datetime
    person: Person | None = None
    """Whom it concerns, as the directory knows them."""
    draft: WorkingDraft | None = None
    """The report as it is being written."""
    second_reader: bool = False
    """The hospital's policy wants one."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What becomes of it."""

    update: dict[str, Any] = field(default_factory=dict)
    event: dict[str, Any] = field(default_factory=dict)
    """What the event says beside."""
    about: str = ""


def changed(doing: Doing) -> Changed:
    """What this action changes; raises the rules' errors."""
    return CHANGES.get(doing.action, _nothing)(doing)


def stepped(doing: Doing, change: Changed) -> Consult:
    """The case after the action: its state, its next version, its timeline."""
    consult, claims = doing.consult, doing.claims
    state = TRANSITIONS[doing.action].target or consult.state
    step = Step(
        at=doing.now,
        user=claims.user,
        name=claims.name,
        hospital=claims.hospital,
        action=doing.action,
        state=state,
        reason=doing.order.reason,
        about=change.about,
    )
    update = {
        **change.update,
        "state": state,
        "version": consult.version + 1,
        "timeline": [*consult.timeline, step],
    }
    return consult.model_copy(update=update)


def _nothing(_: Doing) -> Changed:
    return Changed()


def _submit(doing: Doing) -> Changed:
    first = doing.consult.submitted_at
    return Changed({"submitted_at": first or doing.now})


def _accept(_: Doing) -> Changed:
    return Changed({"expert": None, "expert_name": None, "expert_hospital": ""})


def _claim(doing: Doing) -> Changed:
    claims = doing.claims
    return _given_to(doing.consult, claims.user, claims.name, claims.hospital, "")


def _assign(doing: Doing) -> Changed:
    person = doing.person
    assert person is not None
    if person.user == doing.consult.expert and doing.action is Action.REASSIGN:
        raise InvalidConsult("this expert has the case already", ["expert"])
    return _given_to(doing.consult, person.user, person.name, person.hospital, person.name or person.user)


def _given_to(consult: Consult, user: str, name: str, hospital: str, about: str) -> Changed:
    update = {"expert": user, "expert_name": name, "expert_hospital": hospital, **NO_REVIEW}
    return Changed(update, {"previous_expert": consult.expert or ""}, about)


NO_REVIEW: dict[str, Any] = {"review": None, "reviewer": "", "reviewer_name": ""}


def _release(doing: Doing) -> Changed:
    update = {"expert": None, "expert_name": None, "expert_hospital": "", **NO_REVIEW}
    return Changed(update, {"previous_expert": doing.consult.expert or ""})


def _request_review(doing: Doing) -> Changed:
    check_report(_draft(doing).text)
    person = doing.person
    if person is None and doing.consult.by_name:
        raise InvalidConsult("only named people see this case: name the second reader", ["member"])
    if person is None:
        return Changed(dict(NO_REVIEW))
    if person.user == doing.consult.expert:
        raise InvalidConsult("the author of a report cannot be its second reader", ["member"])
    update = {"review": None, "reviewer": person.user, "reviewer_name": person.name}
    return Changed(update, about=person.name or person.user)


def _decline(doing: Doing) -> Changed:
    return Changed(dict(NO_REVIEW), {"reviewer": doing.claims.user})


def _approve(doing: Doing) -> Changed:
    check_second_reader(doing.claims, _draft(doing).author)
    return Changed({"review": _signature(doing)}, {"reviewer": doing.claims.user})


def _issue(doing: Doing) -> Changed:
    consult, draft = doing.consult, _draft(doing)
    check_issue(consult, draft.text, doing.second_reader)
    previous = consult.report
    report = Report(
        id=previous.id if previous else uuid4().hex,
        version=previous.version + 1 if previous else 1,
        author=doing.claims.user,
        author_name=doing.claims.name,
        issued_at=doing.now,
        signature=_signature(doing),
        reviewer=consult.review if consult.state is State.APPROVED else None,
        amendment_reason=consult.amendment_reason,
        **draft.text.model_dump(),
    )
    return Changed({"report": report, "amendment_reason": ""})


def _amend(doing: Doing) -> Changed:
    return Changed({"amendment_reason": doing.order.reason[:500], **NO_REVIEW})


def _acknowledge_critical(doing: Doing) -> Changed:
    critical = doing.consult.critical
    if critical is None or critical.acknowledged_at is not None:
        raise InvalidConsult("there is no critical value that waits for somebody")
    known = {
        "acknowledged_by": doing.claims.user,
        "acknowledged_name": doing.claims.name,
        "acknowledged_at": doing.now,
        "action_taken": doing.order.action_taken,
    }
    return Changed({"critical": critical.model_copy(update=known)})


def _ask(doing: Doing) -> Changed:
    person, consult = doing.person, doing.consult
    assert person is not None
    if person.user in (consult.expert, consult.applicant):
        raise InvalidConsult("the applicant and the expert of a case are asked nothing beside", ["member"])
    if any(member.user == person.user and not member.excused for member in consult.panel):
        raise InvalidConsult("this expert is asked already", ["member"])
    member = Member(
        user=person.user,
        name=person.name,
        hospital=person.hospital,
        asked_by=doing.claims.user,
        question=doing.order.question,
    )
    others = [known for known in consult.panel if known.user != person.user]
    return Changed({"panel": [*others, member]}, {"member": person.user, "joined": True}, person.name or person.user)


def _excuse(doing: Doing) -> Changed:
    user = doing.order.member
    found = [one for one in doing.consult.panel if one.user == user and not one.excused and one.opinion is None]
    if not found:
        raise InvalidConsult("no opinion of this expert is waited for", ["member"])
    panel = [one.model_copy(update={"excused": True}) if one is found[0] else one for one in doing.consult.panel]
    return Changed({"panel": panel}, {"member": user, "joined": False}, found[0].name or user)


def _give(doing: Doing) -> Changed:
    claims = doing.claims
    found = [one for one in doing.consult.panel if one.user == claims.user and not one.excused]
    if not found or found[0].opinion is not None:
        raise InvalidConsult("your opinion was given already; write to the discussion what is to be added")
    opinion = Opinion(
        by=claims.user, name=claims.name, hospital=claims.hospital, text=doing.order.opinion, at=doing.now
    )
    panel = [one.model_copy(update={"opinion": opinion}) if one is found[0] else one for one in doing.consult.panel]
    return Changed({"panel": panel}, {"member": claims.user})


def _draft(doing: Doing) -> WorkingDraft:
    if doing.draft is None:
        raise InvalidConsult("no report was written yet", ["findings", "impression"])
    return doing.draft


def _signature(doing: Doing) -> Signature:
    claims = doing.claims
    return Signature(
        user=claims.user,
        name=claims.name,
        hospital=claims.hospital,
        at=doing.now,
        authenticated_at=claims.authenticated_at,
    )


CHANGES: dict[Action, Callable[[Doing], Changed]] = {
    Action.SUBMIT: _submit,
    Action.ACCEPT: _accept,
    Action.ASSIGN: _assign,
    Action.CLAIM: _claim,
    Action.REASSIGN: _assign,
    Action.RELEASE: _release,
    Action.REQUEST_REVIEW: _request_review,
    Action.DECLINE_REVIEW: _decline,
    Action.APPROVE: _approve,
    Action.ISSUE: _issue,
    Action.AMEND: _amend,
    Action.ACKNOWLEDGE_CRITICAL: _acknowledge_critical,
    Action.ASK_PANEL: _ask,
    Action.EXCUSE_PANEL: _excuse,
    Action.GIVE_OPINION: _give,
}
