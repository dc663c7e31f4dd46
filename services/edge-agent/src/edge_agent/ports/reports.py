"""The hospital's own reports and orders."""

from typing import Protocol

from edge_agent.model import KeptReport
from imaging_common.events import OrderPlaced


class MessageLog(Protocol):
    """The hospital's HL7 v2 messages. Blocking; writing methods are durable on return."""

    def keep(self, data: bytes, control_id: str, media_type: str) -> bool:
        """Take a report; False: the same bytes came before.

        Raises
        ------
        SpoolUnusable
            There is no room for it.
        """
        ...

    def note(self, data: bytes, control_id: str, media_type: str) -> int:
        """Note an order's message; its number among all messages, the same for the same bytes."""
        ...

    def count_refusal(self, reason: str) -> None:
        """Count what was not acknowledged."""
        ...


class Orders(Protocol):
    """The hospital's imaging orders. Blocking; durable on return."""

    def put(self, order: OrderPlaced) -> bool:
        """Place or change an order; False: a revision as high is known already."""
        ...

    def cancel(self, order_id: str, revision: int) -> bool:
        """Take an order back; False: a revision as high is known already."""
        ...


class ReportQueue(Protocol):
    """The reports that wait for the centre. Blocking; writing methods are durable on return."""

    def waiting(self, limit: int) -> list[KeptReport]:
        """The oldest that the centre has not taken."""
        ...

    def read(self, report: KeptReport) -> bytes:
        """The original bytes; `FileNotFoundError` without the file."""
        ...

    def mark_sent(self, report: KeptReport) -> None:
        """The centre's archive has it."""
        ...

    def mark_refused(self, report: KeptReport, reason: str) -> None:
        """The centre can never take it: kept aside for a person to look at."""
        ...
