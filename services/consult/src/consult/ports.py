"""What the consult service needs of its stores and of the other parts."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pymongo.asynchronous.client_session import AsyncClientSession

from consult.model import Box, Consult, ReportText, State, Study, WorkingDraft
from consult.model.discussion import Comment
from imaging_common.auth import Claims
from imaging_common.events import Event

Outgoing = Sequence[tuple[str, Event, str]]
"""(topic, event, key)"""
Writing = Callable[[AsyncClientSession], Awaitable[None]]
"""A further write in the transaction; it may be called again when the transaction is. Fakes give no session."""


@dataclass(frozen=True, slots=True)
class Change:
    """One case before and after; `before` None: a new case."""

    before: Consult | None
    after: Consult
    outgoing: Outgoing = ()


@dataclass(frozen=True, slots=True)
class Once:
    """A request that must not make two cases: its key, and the digest of what it asked."""

    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class Made:
    """What a request made before."""

    consult: Consult
    digest: str


@dataclass(frozen=True, slots=True)
class BoxQuery:
    """Which cases somebody wants to see, in pages."""

    claims: Claims
    box: Box
    state: State | None = None
    overdue: bool | None = None
    urgency: str | None = None
    limit: int = field(default=50)
    offset: int = 0


class ConsultStore(Protocol):
    """Cases, each changed together with its events."""

    async def next_number(self, day: str) -> str:
        """The day's next case number, e.g. `C-20261124-0001`: never twice; a failed application leaves a gap."""
        ...

    async def commit(
        self, changes: Sequence[Change], *, once: Once | None = None, writes: Sequence[Writing] = ()
    ) -> bool:
        """All of it in one transaction, or nothing.

        Returns
        -------
        False, and nothing is written or sent, when a stored case is not what `before` says (any field: limits, files,
        too; read again and try again), or when the request `once` has made a case before.
        """
        ...

    async def find_request(self, request_key: str) -> Made | None:
        """The case that this request made before, as it is now."""
        ...

    async def get(self, consult_id: str) -> Consult | None:
        """The case."""
        ...

    async def find(self, query: BoxQuery) -> list[Consult]:
        """Cases of a box (as `model.in_box` tells), the newest first."""
        ...

    async def with_reports(self, studies: Sequence[Study], consult_id: str | None, limit: int) -> list[Consult]:
        """Cases with an issued report: on any of these studies, or the one with this id; the newest first."""
        ...

    async def draft(self, consult_id: str, author: str) -> WorkingDraft | None:
        """The report as this author is writing it."""
        ...

    async def latest_draft(self, consult_id: str) -> WorkingDraft | None:
        """The one that was saved last, whoever wrote it: where the next expert starts."""
        ...

    async def save_draft(self, consult: Consult, draft: WorkingDraft, expected_revision: int) -> bool:
        """Compare-and-set on the revision (0: none is kept), while the stored case has the version of `consult`."""
        ...

    def draft_write(self, draft: WorkingDraft) -> Writing:
        """The draft, to be kept within a transition's transaction whatever is kept of this author."""
        ...

    async def comments(self, consult_id: str) -> list[Comment]:
        """The discussion, the oldest first."""
        ...

    async def add_comment(self, comment: Comment, outgoing: Outgoing) -> None:
        """Keep a comment together with its events."""
        ...


class HospitalBook(Protocol):
    """The hospitals of the region that can be asked."""

    async def keep(self, hospital: str, revision: int, level: str) -> bool:
        """Note a hospital; False when this revision or a later one is known."""
        ...

    async def knows(self, hospital: str) -> bool:
        """Whether it is registered."""
        ...

    async def level(self, hospital: str) -> str | None:
        """Its level (community, secondary, tertiary, outside); None: it is not registered."""
        ...

    async def at_level(self, level: str) -> list[str]:
        """The hospitals of a level, sorted by id."""
        ...


class Policies(Protocol):
    """What a hospital wants of the reports it gives."""

    async def second_reader_required(self, consult: Consult, report_text: ReportText | None) -> bool:
        """Whether the report needs a second reader before it is issued (`report_text` None: nothing is written yet)."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What some studies are, in the words of their headers."""

    modalities: frozenset[str] = frozenset()
    body_parts: frozenset[str] = frozenset()
    """Body Part Examined (0018,0015)."""


class StudyAccess(Protocol):
    """Whether an applicant may see the studies they send: the access rule's word, not this service's."""

    async def hidden(self, token: str, studies: Sequence[Study]) -> list[Study]:
        """Those of these studies that the owner of this token may not see, or that do not exist."""
        ...

    async def facts(self, token: str, studies: Sequence[Study]) -> Facts:
        """What these studies are; nothing where it cannot be asked now: no application waits for it."""
        ...


class Files(Protocol):
    """Bytes that belong to cases (attachments, PDFs), by id."""

    async def put(self, file_id: str, consult_id: str, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep a file; when the stream fails, nothing is kept."""
        ...

    async def get(self, file_id: str) -> AsyncIterator[bytes] | None:
        """Its bytes in chunks; None: there is no such file."""
        ...

    async def delete(self, file_id: str) -> None:
        """Forget a file; one that does not exist is no error."""
        ...


Clock = Callable[[], datetime]
