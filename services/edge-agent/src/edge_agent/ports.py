"""What the edge agent's use cases need from outside."""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.model import KeptReport, PacsInstance, RetrievedFile, SpooledInstance, Usage
from edge_agent.pacs_model import DicomJson, Found, StudyListing, StudyMatch
from edge_agent.retrievals import CopiedStudy, Retrieval
from imaging_common.events import Event, ManifestEntry, OrderPlaced, RejectedEntry, RetrieveRequested, StudyAvailable


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What the centre says of each instance of a batch, by SOP Instance UID; the others are to be sent again."""

    stored: set[str] = field(default_factory=set)
    rejected: dict[str, str] = field(default_factory=dict)
    """With the reason."""


class Centre(Protocol):
    """The centre's door for images."""

    async def store(
        self, study_uid: str, batch: Sequence[SpooledInstance | RetrievedFile], retrieval_id: str | None = None
    ) -> StoreAnswer:
        """Store a batch of one study; with a retrieval id, in the cache tier; with an empty one, for good.

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


class PacsQuery(Protocol):
    """Questions to the PACS; answers are DICOM JSON (PS3.18 F) without what tells of the answer alone.

    Every method raises `PacsUnreachable` (no answer in time) or `PacsRefused` (an answer, but a refusal).
    """

    gives_headers: bool
    """Whether `headers` works: the PACS has WADO-RS."""

    async def studies(self, match: StudyMatch) -> Found:
        """Studies with the attributes of patient and study, counts where the PACS gives them."""
        ...

    async def series(self, study_uid: str) -> list[DicomJson]:
        """The series of a study."""
        ...

    async def instances(self, study_uid: str, series_uid: str) -> list[DicomJson]:
        """The instances of a series, with what of the image's description the PACS gives."""
        ...

    async def headers(self, study_uid: str, series_uid: str) -> list[DicomJson]:
        """The whole headers of a series' instances, bulk values removed as in `imaging_common.dicom.header`."""
        ...

    async def close(self) -> None:
        """Give the connection up; the next question opens another."""
        ...


@dataclass(frozen=True, slots=True)
class SweepNews:
    """What a listing says that was not known."""

    new: int
    changed: int
    unlisted: list[str]
    """Studies that are known and not withdrawn, but not in the listing; those missed most often first."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What is announced of a study."""

    fingerprint: str
    content: str
    full: bool
    """Whether its headers are whole."""
    retry_seconds: float
    """After so many seconds the headers are asked for again; 0: the PACS gives none."""
    instances: list[PacsInstance]


@dataclass(frozen=True, slots=True)
class PacsCounts:
    """How far the watch is."""

    studies: int
    waiting: int
    backfill_done: bool
    last_sweep_at: float | None
    """Seconds since 1970."""


class PacsKnowledge(Protocol):
    """What is known of the PACS, durably. Blocking; writing methods are durable on return. Dates are DA values."""

    def compare(self, listed: Mapping[str, StudyListing], oldest_recent: str) -> SweepNews:
        """Take new and changed studies in; those that the first sweep finds and that are older are history."""
        ...

    def want(self, listing: StudyListing) -> None:
        """A catalogue of this study is to be made, before all history."""
        ...

    def count_missed(self, studies: Collection[str], limit: int) -> list[str]:
        """A whole sweep did not find these; which of them are withdrawn now, for the `limit`-th time in a row."""
        ...

    def waiting(self, now: float, limit: int, *, history: bool) -> list[tuple[str, bool]]:
        """Studies whose catalogue is to be made and whether each is history, most urgent first."""
        ...

    def postpone(self, study_uid: str, seconds: float, problem: str = "") -> None:
        """Try again later, twice as late each time; with a problem not before the study changes."""
        ...

    def next_announcement(self, study_uid: str) -> int:
        """The number of the study's next announcement."""
        ...

    def announced_content(self, study_uid: str) -> str:
        """The digest of what was announced last; empty: nothing, or its withdrawal."""
        ...

    def settle(self, listing: StudyListing, told: Announced, event: StudyAvailable | None) -> None:
        """Its catalogue is made, and announced by this event, in one transaction; None: it is the same as before."""
        ...

    def next_without_headers(self) -> str:
        """The newest study whose headers are not whole and were not asked for by this method; empty: none."""
        ...

    def to_check(self, oldest_recent: str, limit: int) -> list[tuple[str, str]]:
        """Studies without a count in the PACS, with their fingerprints: recent ones, then those not checked longest."""
        ...

    def checked(self, study_uid: str, *, changed: bool) -> None:
        """Its instances were compared."""
        ...

    def sweep_ended(self, at: float) -> None:
        """A whole sweep ended."""
        ...

    def counts(self) -> PacsCounts:
        """How far the watch is."""
        ...


class CatalogueDoor(Protocol):
    """The centre's door for catalogues (`imaging_common.objects.catalogue`)."""

    async def put(self, study_uid: str, data: bytes) -> str:
        """Return the key under which the centre keeps the encoded catalogue, durably.

        Raises
        ------
        CentreUnavailable
            Nothing is known of it; send it again.
        BatchRefused
            The centre can never take it.
        """
        ...


class PacsHealth(Protocol):
    """Whether the PACS answers; the watcher and the retrievals both tell it."""

    def answered(self) -> None:
        """A call was answered."""
        ...

    def failed(self, reason: str) -> None:
        """A call was not answered, or refused."""
        ...


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


class ReportCentre(Protocol):
    """The centre's door for reports."""

    async def send(self, data: bytes, media_type: str) -> None:
        """Return once the archive has it.

        Raises
        ------
        CentreUnavailable
            Nothing is known of it; send it again.
        ReportRefused
            The centre can never take it.
        """
        ...


class PacsRetriever(Protocol):
    """A way in which the PACS gives its images."""

    @property
    def name(self) -> str:
        """As in the setting `pacs_retrieve`."""
        ...

    def fetch(
        self, wanted: Sequence[PacsInstance], *, whole_series: bool = False
    ) -> AsyncGenerator[RetrievedFile, None]:
        """Give the files of instances of one series as they land; the caller removes them. Holds one connection.

        What the PACS does not have just does not come. `whole_series`: they are nearly all of their series.

        Raises
        ------
        PacsUnreachable
            It does not answer, or broke off; what came before stays.
        PacsRefused
            It refuses.
        RetrieveFolderFull
            No room.
        """
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


class Slots(Protocol):
    """The connections that may be open to the PACS."""

    def try_take(self, priority: int) -> bool:
        """Take one if there is one for this priority."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...

    def on_free(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever one is given back."""
        ...


class RetrievedFiles(Protocol):
    """The folder of retrieved files. Blocking."""

    def has_room(self) -> bool:
        """Whether it is worth fetching more."""
        ...

    def remove(self, file: RetrievedFile) -> None:
        """The file is done with."""
        ...


class RetrievalLog(Protocol):
    """The retrievals that the centre asked for. Blocking; writing methods are durable on return."""

    def take_request(self, request: RetrieveRequested) -> Retrieval | None:
        """Keep a request; None: it is no news."""
        ...

    def cancel(self, retrieval_id: str, study_uid: str, topic: str) -> bool:
        """Remember that nobody wants it, and tell; False: it had ended."""
        ...

    def unfinished(self) -> list[Retrieval]:
        """Retrievals to go on with."""
        ...

    def done(self, retrieval_id: str) -> dict[str, int]:
        """Bytes of the instances that the centre has acknowledged, by SOP Instance UID."""
        ...

    def mark_done(self, retrieval_id: str, lengths: Mapping[str, int]) -> None:
        """The centre has these."""
        ...

    def finish(self, retrieval_id: str, revision: int, state: str, topic: str, event: Event | None) -> bool:
        """End it and write the event to the outbox; False, and nothing: a newer revision came or it was cancelled."""
        ...

    def purge(self, before: float) -> int:
        """Forget what ended before (seconds since 1970); how many."""
        ...


class MigrationLog(Protocol):
    """What was copied for good when the hospital moved to the central tier. Blocking; durable on return."""

    def take_policy(self, hospital: str, revision: int, tier: str) -> bool:
        """Keep the hospital's policy; False: it is no news."""
        ...

    def tier(self, hospital: str) -> str:
        """The hospital's tier; empty: not known yet."""
        ...

    def copied(self) -> dict[str, CopiedStudy]:
        """Studies that were copied."""
        ...

    def mark_copied(self, study_uid: str, copied: CopiedStudy) -> None:
        """A study was copied, as far as the PACS gives it."""
        ...

    def open_original(self, study_uid: str) -> Retrieval:
        """Put the copying of a study into the journal, or find it there."""
        ...

    def close_originals(self) -> int:
        """Take back all that are not finished; how many."""
        ...
