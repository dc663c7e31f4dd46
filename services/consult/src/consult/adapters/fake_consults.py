"""`ConsultStore` in memory, for unit tests."""

from consult.model import Consult, State
from consult.ports import Outgoing
from imaging_common.events import Event


class FakeConsultStore:
    """Keeps cases and what was sent."""

    def __init__(self) -> None:
        self.consults: dict[str, Consult] = {}
        self.sent: list[tuple[str, Event, str]] = []
        self._numbers: dict[str, int] = {}
        self._requests: dict[str, str] = {}

    async def next_number(self, day: str) -> str:
        """See `ConsultStore.next_number`."""
        self._numbers[day] = self._numbers.get(day, 0) + 1
        return f"C-{day}-{self._numbers[day]:04d}"

    async def insert(self, consult: Consult, outgoing: Outgoing, request_key: str | None) -> Consult:
        """See `ConsultStore.insert`."""
        if request_key is not None and request_key in self._requests:
            return self.consults[self._requests[request_key]]
        if request_key is not None:
            self._requests[request_key] = consult.id
        self.consults[consult.id] = consult
        self.sent += outgoing
        return consult

    async def get(self, consult_id: str) -> Consult | None:
        """See `ConsultStore.get`."""
        return self.consults.get(consult_id)

    async def replace(self, consult: Consult, expected_version: int, outgoing: Outgoing) -> bool:
        """See `ConsultStore.replace`."""
        if self.consults[consult.id].version != expected_version:
            return False
        self.consults[consult.id] = consult
        self.sent += outgoing
        return True

    async def find(
        self, *, applicant_hospital: str | None, consultant_hospital: str | None, state: State | None, limit: int,
        offset: int,
    ) -> list[Consult]:  # fmt: skip
        """See `ConsultStore.find`."""
        found = [
            consult
            for consult in self.consults.values()
            if applicant_hospital in (None, consult.applicant_hospital)
            and consultant_hospital in (None, consult.consultant_hospital)
            and state in (None, consult.state)
        ]
        return sorted(found, key=lambda consult: consult.number, reverse=True)[offset : offset + limit]
