"""Which time limits a case has after each transition, and which of their steps are due. Pure.

All limits run from the submission. `accept` is met when the hospital takes the case, `opinion` when somebody asked has
said something (the report is begun, a member of the panel or a case one level up has answered), `report` when it is
issued, `critical` when the applicant's side confirms. They stand still while the application is returned. What comes
back is to be accepted again, in the whole time, when it had been before. An amendment has no limit of its own.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from consult.model import PAUSED, Action, Consult, State
from consult.model.case import Limit, LimitName

REMIND_SHARE, ESCALATE_SHARE = 0.25, 0.5
"""Of a limit's whole time: so long before it, and after it."""
Spans = Mapping[LimitName, timedelta]
StepName = Literal["reminder", "overdue", "escalated"]
STEPS: tuple[tuple[StepName, str, str], ...] = (
    ("reminder", "remind_at", "reminded"),
    ("overdue", "due_at", "overdue"),
    ("escalated", "escalate_at", "escalated"),
)
"""Step → when, and the mark that it was taken. Late ones are all taken, in this order: none is left out."""
FROM_SUBMISSION: tuple[LimitName, ...] = ("accept", "opinion", "report")
NOT_TAKEN = frozenset({State.DRAFT, State.SUBMITTED, State.RETURNED, State.WITHDRAWN})
WRITTEN = frozenset({State.DRAFTED, State.IN_REVIEW, State.APPROVED, State.ISSUED, State.ACKNOWLEDGED})
CLOSED = frozenset({State.REJECTED, State.WITHDRAWN})
"""States in which nothing is waited for: of what was not met, only what is late is remembered."""


def followed(case: Consult, action: Action, now: datetime, spans: Spans) -> Consult:
    """The case after a transition, with the limits that it has now; `spans`: how long those are that begin."""
    if case.submitted_at is None:
        return case
    limits = list(case.limits)
    paused = case.state in PAUSED
    if case.paused_at is not None and not paused:
        limits = [_later(limit, now - case.paused_at) for limit in limits]
    if case.state in CLOSED:
        limits = [one for one in limits if one.met_at is not None or _is_met(one.name, case) or now > one.due_at]
    over = [limit.name for limit in limits if case.state in CLOSED or _is_met(limit.name, case)]
    limits = [_closed(one, now) if one.met_at is None and one.name in over else one for one in limits]
    for name in _beginning(case, action):
        if name in spans and not any(limit.name == name and limit.met_at is None for limit in limits):
            kept = [limit for limit in limits if limit.name != name or limit.overdue]
            limits = [*kept, begun(name, now, spans[name])]
    paused_at = (case.paused_at or now) if paused else None
    return _with(case.model_copy(update={"paused_at": paused_at}), limits)


def begun(name: LimitName, start: datetime, span: timedelta) -> Limit:
    """A limit that begins to run; in whole milliseconds, as they are kept."""
    span = _whole(span)
    due_at = start + span
    return Limit(
        name=name,
        due_at=due_at,
        remind_at=due_at - _whole(span * REMIND_SHARE),
        escalate_at=due_at + _whole(span * ESCALATE_SHARE),
    )


def taken(case: Consult, now: datetime) -> tuple[Consult, list[tuple[Limit, StepName]]]:
    """The case with the steps marked that are due by now, and those steps."""
    steps: list[tuple[Limit, StepName]] = []
    limits: list[Limit] = []
    for limit in case.limits:
        due = [(step, mark) for step, at, mark in STEPS if _waits(case, limit, mark) and getattr(limit, at) <= now]
        limits.append(limit.model_copy(update={mark: True for _, mark in due}))
        steps += [(limits[-1], step) for step, _ in due]
    return _with(case, limits), steps


def next_due(case: Consult) -> datetime | None:
    """When the case's next step is to be taken; None: none is."""
    waiting = [getattr(limit, at) for limit in case.limits for _, at, mark in STEPS if _waits(case, limit, mark)]
    return min(waiting, default=None)


def _waits(case: Consult, limit: Limit, mark: str) -> bool:
    return case.paused_at is None and limit.met_at is None and not getattr(limit, mark)


def _beginning(case: Consult, action: Action) -> tuple[LimitName, ...]:
    if action is Action.SUBMIT:
        return ("accept",) if case.limits else FROM_SUBMISSION
    waits = case.critical is not None and case.critical.acknowledged_at is None
    return ("critical",) if action is Action.ISSUE and waits else ()


def _is_met(name: LimitName, case: Consult) -> bool:
    match name:
        case "accept":
            return case.state not in NOT_TAKEN
        case "opinion":
            answered = any(member.opinion is not None for member in case.panel)
            above = any(opinion.from_consult in case.children for opinion in case.opinions)
            return case.state in WRITTEN or answered or above
        case "report":
            return case.report is not None and case.report.issued_at is not None
        case _:
            return case.critical is None or case.critical.acknowledged_at is not None


def _closed(limit: Limit, now: datetime) -> Limit:
    """Met, or of no use any more; late is late, also when nobody had time to say so."""
    return limit.model_copy(update={"met_at": now, "overdue": limit.overdue or now > limit.due_at})


def _later(limit: Limit, by: timedelta) -> Limit:
    if limit.met_at is not None:
        return limit
    return limit.model_copy(update={at: getattr(limit, at) + by for _, at, _ in STEPS})


def _with(case: Consult, limits: list[Limit]) -> Consult:
    overdue = any(limit.overdue and limit.met_at is None for limit in limits)
    return case.model_copy(update={"limits": limits, "overdue": overdue})


def _whole(span: timedelta) -> timedelta:
    return timedelta(milliseconds=round(span / timedelta(milliseconds=1)))
