"""What the consult service needs of its stores."""

from collections.abc import Sequence
from typing import Protocol

from consult.model import Consult, State, Study
from imaging_common.events import Event

Outgoing = Sequence[tuple[str, Event, str]]
"""(topic, event, key)"""


class ConsultStore(Protocol):
    """Cases, each changed together with its events."""

    async def next_number(self, day: str) -> str:
        """The day's next case number, e.g. `C-20261124-0001`: never twice; a failed application leaves a gap."""
        ...

    async def insert(self, consult: Consult, outgoing: Outgoing, request_key: str | None) -> Consult:
        """Keep a new case; with a `request_key` that is known, nothing is written and the case it made is returned."""
        ...

    async def find_request(self, request_key: str) -> Consult | None:
        """The case that this request made before, as it is now."""
        ...

    async def get(self, consult_id: str) -> Consult | None:
        """The case."""
        ...

    async def replace(self, consult: Consult, expected_version: int, outgoing: Outgoing) -> bool:
        """Compare-and-set: False, and nothing is written or sent, when the stored case has another version."""
        ...

    async def find(
        self, *, applicant_hospital: str | None, consultant_hospital: str | None, state: State | None, limit: int,
        offset: int,
    ) -> list[Consult]:  # fmt: skip
        """Cases, the newest first."""
        ...

    async def with_reports(self, studies: Sequence[Study], consult_id: str | None, limit: int) -> list[Consult]:
        """Cases with an issued report: on any of these studies, or the one with this id; the newest first."""
        ...


class HospitalBook(Protocol):
    """The hospitals of the region that can be asked."""

    async def keep(self, hospital: str, revision: int) -> bool:
        """Note a hospital; False when this revision or a later one is known."""
        ...

    async def knows(self, hospital: str) -> bool:
        """Whether it is registered."""
        ...
