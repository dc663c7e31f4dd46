"""`ConsultStore`, `HospitalBook`, `Policies` and `StudyAccess` in memory, for unit tests."""

from collections.abc import Sequence
from typing import cast

from pymongo.asynchronous.client_session import AsyncClientSession

from consult.model import Comment, Consult, Report, ReportText, Study, WorkingDraft, in_box
from consult.ports import BoxQuery, Change, Facts, Made, Once, Outgoing, Writing
from imaging_common.events import Event

NO_SESSION = cast(AsyncClientSession, None)


class FakeConsultStore:
    """Keeps cases and what was sent."""

    def __init__(self) -> None:
        self.consults: dict[str, Consult] = {}
        self.sent: list[tuple[str, Event, str]] = []
        self.versions: dict[str, Report] = {}
        self.drafts: dict[tuple[str, str], WorkingDraft] = {}
        self.said: list[Comment] = []
        self._numbers: dict[str, int] = {}
        self._requests: dict[str, tuple[str, str]] = {}

    async def next_number(self, day: str) -> str:
        """See `ConsultStore.next_number`."""
        self._numbers[day] = self._numbers.get(day, 0) + 1
        return f"C-{day}-{self._numbers[day]:04d}"

    async def commit(
        self, changes: Sequence[Change], *, once: Once | None = None, writes: Sequence[Writing] = ()
    ) -> bool:
        """See `ConsultStore.commit`."""
        if any(self.consults.get(change.after.id) != change.before for change in changes):
            return False
        if once is not None:
            if once.key in self._requests:
                return False
            self._requests[once.key] = (changes[0].after.id, once.digest)
        for change in changes:
            after = change.after
            self.consults[after.id] = after
            if after.report is not None and after.report.issued_at is not None:
                self.versions.setdefault(f"{after.report.id}/{after.report.version}", after.report)
            self.sent += change.outgoing
        for write in writes:
            await write(NO_SESSION)
        return True

    async def find_request(self, request_key: str) -> Made | None:
        """See `ConsultStore.find_request`."""
        if request_key not in self._requests:
            return None
        consult_id, digest = self._requests[request_key]
        return Made(self.consults[consult_id], digest)

    async def get(self, consult_id: str) -> Consult | None:
        """See `ConsultStore.get`."""
        return self.consults.get(consult_id)

    async def find(self, query: BoxQuery) -> list[Consult]:
        """See `ConsultStore.find`."""
        found = [
            consult
            for consult in self.consults.values()
            if in_box(consult, query.claims, query.box)
            and query.state in (None, consult.state)
            and query.overdue in (None, consult.overdue)
            and query.urgency in (None, consult.urgency)
        ]
        found.sort(key=lambda consult: consult.number, reverse=True)
        return found[query.offset : query.offset + query.limit]

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

    async def draft(self, consult_id: str, author: str) -> WorkingDraft | None:
        """See `ConsultStore.draft`."""
        return self.drafts.get((consult_id, author))

    async def latest_draft(self, consult_id: str) -> WorkingDraft | None:
        """See `ConsultStore.latest_draft`."""
        found = [draft for (case, _), draft in self.drafts.items() if case == consult_id]
        return found[-1] if found else None

    async def save_draft(self, consult: Consult, draft: WorkingDraft, expected_revision: int) -> bool:
        """See `ConsultStore.save_draft`."""
        kept = self.drafts.get((draft.consult_id, draft.author))
        stored = self.consults.get(consult.id)
        if stored is None or stored.version != consult.version:
            return False
        if (kept.revision if kept else 0) != expected_revision:
            return False
        self.consults[consult.id] = stored.model_copy(update={"draft_saves": stored.draft_saves + 1})
        await self.draft_write(draft)(NO_SESSION)
        return True

    def draft_write(self, draft: WorkingDraft) -> Writing:
        """See `ConsultStore.draft_write`."""

        async def write(_: AsyncClientSession) -> None:
            self.drafts.pop((draft.consult_id, draft.author), None)
            self.drafts[draft.consult_id, draft.author] = draft

        return write

    async def comments(self, consult_id: str) -> list[Comment]:
        """See `ConsultStore.comments`."""
        return [comment for comment in self.said if comment.consult_id == consult_id]

    async def add_comment(self, comment: Comment, outgoing: Outgoing) -> None:
        """See `ConsultStore.add_comment`."""
        self.said.append(comment)
        self.sent += outgoing


class FakeHospitalBook:
    """Keeps revisions and levels."""

    def __init__(self, **levels: str) -> None:
        self._revisions = dict.fromkeys(levels, 1)
        self._levels = dict(levels)

    async def keep(self, hospital: str, revision: int, level: str) -> bool:
        """See `HospitalBook.keep`."""
        if self._revisions.get(hospital, 0) >= revision:
            return False
        self._revisions[hospital] = revision
        self._levels[hospital] = level
        return True

    async def knows(self, hospital: str) -> bool:
        """See `HospitalBook.knows`."""
        return hospital in self._revisions

    async def level(self, hospital: str) -> str | None:
        """See `HospitalBook.level`."""
        return self._levels.get(hospital)

    async def at_level(self, level: str) -> list[str]:
        """See `HospitalBook.at_level`."""
        return sorted(hospital for hospital, known in self._levels.items() if known == level)


class FakePolicies:
    """Second readers at these hospitals."""

    def __init__(self, *hospitals: str) -> None:
        self.hospitals = set(hospitals)

    async def second_reader_required(self, consult: Consult, report_text: ReportText | None) -> bool:
        """See `Policies.second_reader_required`."""
        return consult.consultant_hospital in self.hospitals


class FakeStudyAccess:
    """Everything can be seen but these."""

    def __init__(self, *closed: Study) -> None:
        self.closed = set(closed)
        self.known = Facts()

    async def hidden(self, token: str, studies: Sequence[Study]) -> list[Study]:
        """See `StudyAccess.hidden`."""
        return [study for study in studies if study in self.closed]

    async def facts(self, token: str, studies: Sequence[Study]) -> Facts:
        """See `StudyAccess.facts`."""
        return self.known
