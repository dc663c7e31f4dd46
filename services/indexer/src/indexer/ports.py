"""What the use cases need: a study as a unit of change, and the index around it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Protocol

from imaging_common.events import Event, HospitalRegistered, Version
from indexer.identity import Known
from indexer.model import Announcement, Document, Tally
from indexer.residents import Link


class Fate(Enum):
    """What became of a manifest."""

    NEW = "new"
    INDEXED = "indexed"
    REPLACED = "replaced"
    """A later pack took its place, or its data was evicted."""


class StudyUnit(Protocol):
    """One study at one holder inside one transaction: what is written is readable at once, and kept or lost as one."""

    async def study(self) -> Document | None: ...
    async def series(self) -> list[Document]: ...
    async def known(self, sop_instance_uids: Sequence[str]) -> dict[str, Known]: ...
    async def wholes(self, sop_instance_uids: Sequence[str]) -> list[Document]:
        """Instances' documents with their headers, those that are listed."""
        ...

    async def versions(self, sop_instance_uid: str) -> list[Document]:
        """What an instance was before: its rows of `instance_versions`."""
        ...

    async def listed(self) -> list[str]:
        """The SOP Instance UIDs of all instances, in order of UIDs."""
        ...

    async def first_of(self, series_key: str) -> Document | None:
        """The whole document of the series' instance with the lowest UID."""
        ...

    async def unlisted(self, sop_instance_uids: Sequence[str]) -> dict[str, Document]:
        """Which of these left the study, so that whatever arrives of them is not listed, and why."""
        ...

    async def lying_in(self, collection: str, keys: Sequence[str]) -> list[Document]:
        """Documents (without headers) whose bytes lie in one of these data objects."""
        ...

    async def arrived(self) -> Mapping[str, list[str]]:
        """SOP Instance UID → digests of everything that arrived."""
        ...

    async def tallies(self) -> list[Tally]: ...
    async def report_count(self) -> int:
        """The hospital's reports on the study."""
        ...

    async def aside_counts(self) -> Document:
        """`conflicts`, `corrections` and `unlisted` of the study."""
        ...

    async def announcement(self) -> Announcement | None: ...
    async def link(self, patient_key: str) -> Link:
        """Who a patient is; touches the link, so that its change and this one meet by conflict."""
        ...

    async def is_hospital(self, name: str) -> bool: ...
    async def put_announcement(self, announcement: Announcement) -> None: ...
    async def put_instances(self, documents: Sequence[Document], *, new: bool = False) -> None:
        """Insert or replace; `new`: none of them is there."""
        ...

    async def amend(self, changes: Mapping[str, Document]) -> None:
        """Set fields of served instances (by UID): above all where their bytes lie."""
        ...

    async def remove(self, sop_instance_uids: Sequence[str]) -> None:
        """Take instances out of the study."""
        ...

    async def unlist(self, reasons: Mapping[str, Document]) -> None:
        """Remember by UID why instances are not to be listed."""
        ...

    async def relist(self, sop_instance_uids: Sequence[str]) -> None:
        """Forget it."""
        ...

    async def put_aside(self, collection: str, documents: Sequence[Document]) -> None:
        """Keep former (`instance_versions`) or conflicting (`conflicts`) instances; `_id` as `model.aside` makes it."""
        ...

    async def relocate_aside(self, locations: Mapping[tuple[str, str], Document | None]) -> None:
        """Point former or conflicting instances (by UID and digest) to other bytes, or to none."""
        ...

    async def put_series(self, documents: Sequence[Document]) -> None: ...
    async def remove_series(self, series_keys: Sequence[str]) -> None: ...
    async def put_study(self, document: Document, *, replaces: Mapping[str, int]) -> None:
        """Write the study if its version is still `replaces`.

        Raises
        ------
        VersionTaken
            It is not.
        """
        ...

    async def fate_of(self, manifest: str) -> Fate:
        """What became of a manifest so far."""
        ...

    async def mark_indexed(self, manifest: str, replaces: Sequence[str]) -> None:
        """Remember that a manifest is indexed, and which packs it takes the place of."""
        ...

    async def forget_indexed(self) -> None:
        """The study's manifests that are indexed are new again; replaced and purged ones stay what they are."""
        ...

    async def places(self) -> set[tuple[str, str]]:
        """(bucket, data key) of every object that anything of the study is said to lie in."""
        ...

    async def told(self) -> Version | None:
        """The version that was told of the study before its document was lost; None: it was not."""
        ...

    async def note_told(self, version: Version) -> None:
        """Remember that somebody was told this version."""
        ...

    async def mark_replaced(self, manifests: Sequence[str], purged_at: datetime | None = None) -> None:
        """Remember that these manifests' data is no more: an event about them that comes late does nothing.

        `purged_at`: since when it was deleted for good; what is written there later was sent again.
        """
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

    async def purged(self, manifests: Sequence[str]) -> dict[str, datetime]:
        """Which of these manifests were deleted for good, and when."""
        ...

    async def forget(self, manifest: str) -> None:
        """A manifest that was deleted for good was sent again: it is new."""
        ...

    async def announced(self, holder: str, study_uid: str) -> int:
        """The number of the announcement that counts; 0 without one."""
        ...

    async def quiet_due(self, now: datetime) -> list[tuple[str, str]]:
        """(holder, study) whose quiet timer has run out."""
        ...

    async def register(self, hospital: HospitalRegistered) -> None:
        """Keep a hospital's policy unless a later one is known."""
        ...

    async def tier_of(self, holder: str) -> str: ...
