"""`ConsultStore` and `HospitalBook` in memory, for unit tests."""

from collections.abc import Sequence

from consult.model import Consult, State, Study
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
        if request_key is not None:
            if made := await self.find_request(request_key):
                return made
            self._requests[request_key] = consult.id
        self.consults[consult.id] = consult
        self.sent += outgoing
        return consult

    async def find_request(self, request_key: str) -> Consult | None:
        """See `ConsultStore.find_request`."""
        return self.consults.get(self._requests.get(request_key, ""))

    async def get(self, consult_id: str) -> Consult | None:
        """See `ConsultStore.get`."""
        return self.consults.get(consult_id)

    async def replace(self, consult: Consult, expected_version: int, outgoing: Outgoing) -> bool:
        """See `ConsultStore.replace`."""
        known = self.consults.get(consult.id)
        if known is None or known.version != expected_version:
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

    async def with_reports(self, studies: Sequence[Study], consult_id: str | None, limit: int) -> list[Consult]:
        """See `ConsultStore.with_reports`."""
        found = [
            consult
            for consult in self.consults.values()
            if consult.report is not None
            and consult.report.issued_at is not None
            and (consult.id == consult_id or set(consult.studies) & set(studies))
        ]
        return sorted(found, key=lambda consult: consult.number, reverse=True)[:limit]


class FakeHospitalBook:
    """Keeps the revisions."""

    def __init__(self, *hospitals: str) -> None:
        self._revisions = dict.fromkeys(hospitals, 1)

    async def keep(self, hospital: str, revision: int) -> bool:
        """See `HospitalBook.keep`."""
        if self._revisions.get(hospital, 0) >= revision:
            return False
        self._revisions[hospital] = revision
        return True

    async def knows(self, hospital: str) -> bool:
        """See `HospitalBook.knows`."""
        return hospital in self._revisions
