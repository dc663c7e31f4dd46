"""Joins every transition: the case's time limits begin, stand still, go on and are met; its timer follows."""

from datetime import datetime
from typing import Protocol

from consult.limits.model import Spans, followed, next_due
from consult.limits.timers import Timers
from consult.model import Action, Consult
from consult.usecases.joining import Joined
from imaging_common.auth import Claims

BEGINS = frozenset({Action.SUBMIT, Action.ISSUE})


class LimitPolicies(Protocol):
    """How long the limits of a case are."""

    async def spans(self, consult: Consult) -> Spans:
        """By the policy of the hospital that is asked, or the region's; nothing while nobody is asked."""
        ...


class LimitsJoiner:
    """The last of the joiners: it needs the hospital that routing chose, and the critical value of the report."""

    def __init__(self, policies: LimitPolicies, timers: Timers) -> None:
        self._policies = policies
        self._timers = timers

    async def join(
        self, before: Consult | None, changed: Consult, action: Action, claims: Claims, now: datetime
    ) -> Joined:
        """See `Joiner.join`."""
        spans = await self._policies.spans(changed) if action in BEGINS else {}
        after = followed(changed, action, now, spans)
        if after.submitted_at is None:
            return Joined(after)
        return Joined(after, writes=[self._timers.write(after.id, next_due(after))])
