"""What the use cases need: a study as a unit of change, and the index around it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from imaging_common.events import Event, HospitalRegistered
from indexer.model import Announcement, Document, Known, Tally


class StudyUnit(Protocol):
    """One study at one holder inside one transaction: what is written is readable at once, and kept or lost as one."""

    async def study(self) -> Document | None: ...
    async def series(self) -> list[Document]: ...
    async def known(self, sop_instance_uids: Sequence[str]) -> dict[str, Known]: ...
    async def whole(self, sop_instance_uid: str) -> Document:
        """An instance's document with its header."""
        ...

    async def arrived(self) -> Mapping[str, list[str]]:
        """SOP Instance UID → digests of everything that arrived."""
        ...

    async def tallies(self) -> list[Tally]: ...
    async def conflict_count(self) -> int: ...
    async def correction_count(self) -> int: ...
    async def announcement(self) -> Announcement | None: ...
    async def put_announcement(self, announcement: Announcement) -> None: ...
    async def put_instances(self, documents: Sequence[Document]) -> None:
        """Insert or replace."""
        ...

    async def relocate(self, locations: Mapping[str, Document]) -> None:
        """Point served instances (by UID) to other bytes."""
        ...

    async def put_aside(self, collection: str, documents: Sequence[Document]) -> None:
        """Keep superseded (`instance_versions`) or conflicting (`conflicts`) instances."""
        ...

    async def relocate_aside(self, locations: Mapping[tuple[str, str], Document]) -> None:
        """Point superseded or conflicting instances (by UID and digest) to other bytes."""
        ...

    async def put_series(self, documents: Sequence[Document]) -> None: ...
    async def put_study(self, document: Document, *, replaces: Mapping[str, int]) -> None:
        """Write the study if its version is still `replaces`.

        Raises
        ------
        VersionTaken
            It is not.
        """
        ...

    async def replaced(self, manifest: str) -> bool:
        """Whether a later pack took this one's place."""
        ...

    async def mark_indexed(self, manifest: str, replaces: Sequence[str]) -> None:
        """Remember that a manifest is indexed, and which packs it takes the place of."""
        ...

    async def emit(self, topic: str, event: Event, key: str) -> None:
        """Into the outbox."""
        ...


class Index(Protocol):
    """The index that only this service writes."""

    epoch: int

    async def change(self, holder: str, study_uid: str, work: Callable[[StudyUnit], Awaitable[None]]) -> None:
        """Run `work` in one transaction, again from the start when it met another; afterwards the outbox is woken."""
        ...

    async def indexed(self, manifests: Sequence[str]) -> set[str]:
        """Which of these manifests are indexed or replaced."""
        ...

    async def quiet_due(self, now: datetime) -> list[tuple[str, str]]:
        """(holder, study) whose quiet timer has run out."""
        ...

    async def register(self, hospital: HospitalRegistered) -> None:
        """Keep a hospital's policy unless a later one is known."""
        ...

    async def tier_of(self, holder: str) -> str: ...
