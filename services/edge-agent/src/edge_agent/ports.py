"""What the edge agent's use cases need from outside."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.model import PacsInstance, SpooledInstance, Usage
from imaging_common.events import Event, ManifestEntry, RejectedEntry


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What the centre says of each instance of a batch, by SOP Instance UID; the others are to be sent again."""

    stored: set[str] = field(default_factory=set)
    rejected: dict[str, str] = field(default_factory=dict)
    """With the reason."""


class Centre(Protocol):
    """The centre's door for images."""

    async def store(self, study_uid: str, batch: Sequence[SpooledInstance]) -> StoreAnswer:
        """Store a batch of one study.

        Raises
        ------
        CentreUnavailable
            Nothing is known of the batch; send it again.
        BatchRefused
            The request as such is refused.
        """
        ...


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

    def usage(self) -> Usage:
        """What lies in the spool."""
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


class PacsContents(Protocol):
    """What is known of the PACS without asking it. Blocking."""

    def instances(self, study_uid: str) -> list[PacsInstance]:
        """The instances of a study as it was last announced, in order of series and instance number; empty: unknown."""
        ...

    def studies(self) -> list[str]:
        """Every study that is known and not withdrawn, newest Study Date first."""
        ...


class PacsHealth(Protocol):
    """Whether the PACS answers; the watcher and the retrievals both tell it."""

    def answered(self) -> None:
        """A call was answered."""
        ...

    def failed(self, reason: str) -> None:
        """A call was not answered, or refused."""
        ...
