"""How other parts of the service join a transition: routing, time limits, outputs of a report, critical values.

`Consults` makes the change the table says, then asks each joiner in turn; what they add is written in the same
transaction as the case.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pymongo.asynchronous.client_session import AsyncClientSession

from consult.model import Action, Consult
from imaging_common.auth import Claims
from imaging_common.events import Event

Write = Callable[[AsyncClientSession], Awaitable[None]]
"""A write of another part, in the transaction that is given; it may be called again when the transaction is."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The case as it shall be kept, and what goes with it."""

    consult: Consult
    outgoing: list[tuple[str, Event, str]] = field(default_factory=list)
    """(topic, event, key), beside the transition's own."""
    writes: list[Write] = field(default_factory=list)


class Joiner(Protocol):
    """A part of the service that has to do with transitions."""

    async def join(
        self, before: Consult | None, changed: Consult, action: Action, claims: Claims, now: datetime
    ) -> Joined:
        """Add to a transition (`before` None: a new case), or raise a `RejectedError` of `errors.py` against it.

        No side effect of its own: what must be kept is in the answer.
        """
        ...
