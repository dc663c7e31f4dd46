"""What the consult service needs of its store."""

from collections.abc import Sequence
from typing import Protocol

from consult.model import Consult, State
from imaging_common.events import Event

Outgoing = Sequence[tuple[str, Event, str]]
"""(topic, event, key)"""


class ConsultStore(Protocol):
    """Cases, each changed together with its events."""

    async def next_number(self, day: str) -> str:
        """The next case number of a day, e.g. `C-20261124-0001`."""
        ...

    async def insert(self, consult: Consult, outgoing: Outgoing, request_key: str | None) -> Consult:
        """Keep a new case; with a `request_key` that is known, the case it made before."""
        ...

    async def get(self, consult_id: str) -> Consult | None:
        """The case."""
        ...

    async def replace(self, consult: Consult, expected_version: int, outgoing: Outgoing) -> bool:
        """Compare-and-set: False when the stored case has another version."""
        ...

    async def find(
        self, *, applicant_hospital: str | None, consultant_hospital: str | None, state: State | None, limit: int,
        offset: int,
    ) -> list[Consult]:  # fmt: skip
        """Cases, the newest first."""
        ...
