"""Metrics of cases: how long they stay in a state, how long an opinion takes, which time limits are reached.

A case that came back or was amended counts anew in each state; the time until the report is that of its first version.
"""

from collections.abc import Sequence
from datetime import datetime

from prometheus_client import Counter, Histogram

from consult.model import Action, Consult
from consult.ports import Change

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
BUCKETS = (MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, DAY, 2 * DAY, 7 * DAY)
STATE_SECONDS = Histogram(
    "imaging_consult_state_seconds", "Seconds that cases stayed in a state.", ["hospital", "state"], buckets=BUCKETS
)
REPORT_SECONDS = Histogram(
    "imaging_consult_report_seconds",
    "Seconds from a case's submission until its first report was issued.",
    ["hospital", "urgency"],
    buckets=BUCKETS,
)
TRANSITIONS = Counter("imaging_consult_transitions", "Steps of cases that were taken.", ["hospital", "action"])
LIMITS = Counter("imaging_consult_limits", "Steps of time limits that were reached.", ["limit", "step"])


def note_changes(changes: Sequence[Change]) -> None:
    """Cases were changed, durably."""
    for change in changes:
        before, after = change.before, change.after
        if not after.timeline or (before is not None and len(before.timeline) == len(after.timeline)):
            continue
        step, hospital = after.timeline[-1], after.consultant_hospital
        TRANSITIONS.labels(hospital, step.action).inc()
        if step.action is Action.ISSUE and after.report is not None and after.report.version == 1:
            begun = after.submitted_at or step.at
            REPORT_SECONDS.labels(hospital, after.urgency).observe(max(0.0, (step.at - begun).total_seconds()))
        if before is not None and before.state is not after.state and (entered := _entered(before)) is not None:
            STATE_SECONDS.labels(hospital, before.state).observe(max(0.0, (step.at - entered).total_seconds()))


def _entered(case: Consult) -> datetime | None:
    """When it came into the state that it is in; None: nothing was done with it yet."""
    at = None
    for step in reversed(case.timeline):
        if step.state is not case.state:
            break
        at = step.at
    return at
