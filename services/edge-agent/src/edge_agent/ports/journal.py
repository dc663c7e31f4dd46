"""What devices sent, durably, and the events that are to go out."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_agent.model import SpooledInstance, Usage
from imaging_common.events import Event, ManifestEntry, RejectedEntry


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """An event in the outbox."""

    number: int
    event_id: str
    topic: str
    key: str
    event: Event
    traceparent: str | None


class OutgoingEvents(Protocol):
    """The outbox: written in the transaction of the state change it tells, read in order."""

    def next_events(self, limit: int) -> list[OutgoingEvent]:
        """The oldest events that were not published."""
        ...

    def mark_published(self, number: int) -> None:
        """Kafka has it."""
        ...

    def set_aside(self, number: int, reason: str) -> None:
        """It can never be published: kept, counted, out of the way."""
        ...


BuildAnnouncement = Callable[[int, list[ManifestEntry], list[RejectedEntry]], tuple[str, Event]]
"""(announcement version, manifest) -> (topic, event)."""


class StudyJournal(OutgoingEvents, Protocol):
    """What the agent knows durably. Blocking; writing methods are durable on return."""

    def studies_to_send(self) -> list[tuple[str, bool]]:
        """Studies with instances to send, longest known first; and whether nothing of it was sent before."""
        ...

    def to_send(self, study_uid: str, limit: int) -> list[SpooledInstance]:
        """A study's instances to send, in order of arrival."""
        ...

    def mark_sent(self, numbers: Iterable[int]) -> None:
        """The centre has them."""
        ...

    def mark_rejected(self, reasons: Mapping[int, str]) -> None:
        """The centre refuses them; their study is announced anew without them."""
        ...

    def mark_stored(self, study_uid: str, entries: Sequence[ManifestEntry]) -> int:
        """The archive has them; how many of them that was news of."""
        ...

    def studies_to_announce(self) -> dict[str, int]:
        """Studies that changed since their last announcement, with the number of the last change."""
        ...

    def announce(self, study_uid: str, build: BuildAnnouncement) -> bool:
        """Give the study its next announcement and write the event to the outbox; False: there is nothing to say."""
        ...

    def announce_again(self, study_uid: str | None) -> int:
        """Have this study, or every one, announced under its next number; how many that are."""
        ...

    def send_again(self, study_uid: str, entries: Sequence[ManifestEntry]) -> int:
        """Have instances sent once more whose files are still here; how many that are."""
        ...

    def pass_over(self, study_uid: str, change: int) -> None:
        """Nothing is announced of what changed up to `change`: the hospital's PACS is what counts."""
        ...

    def mark_listed(self, study_uid: str, sop_instance_uids: Collection[str]) -> int:
        """The hospital's PACS lists these: copies that the centre has may go to the ring; how many those were."""
        ...

    def studies_unlisted(self) -> list[str]:
        """Studies with copies that the centre has, but that are not known to be in the PACS."""
        ...

    def usage(self) -> Usage:
        """What lies in the spool."""
        ...

    def oldest_unsent_at(self) -> float | None:
        """When the oldest instance arrived that was not sent yet (Unix time); None: all were."""
        ...

    def ring_oldest(self, excess_bytes: int) -> list[SpooledInstance]:
        """The oldest copies of the ring that together have at least so many bytes."""
        ...

    def mark_removed(self, numbers: Iterable[int]) -> None:
        """Their files are gone."""
        ...


class SpoolFiles(Protocol):
    """The files behind the journal. Blocking."""

    def damaged(self, batch: Sequence[SpooledInstance]) -> list[SpooledInstance]:
        """Those whose file is missing or has another length."""
        ...

    def quarantine(self, instances: Sequence[SpooledInstance]) -> None:
        """Move files to the quarantine folder, durably; one that was moved before is passed over."""
        ...

    def remove(self, instances: Sequence[SpooledInstance]) -> None:
        """Delete files."""
        ...
