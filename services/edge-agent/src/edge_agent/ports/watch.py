"""What the watch over the PACS remembers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from edge_agent.model import PacsInstance
from edge_agent.pacs_model import DicomJson, StudyListing
from imaging_common.events import StudyAvailable


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

    def announce_again(self, study_uid: str | None, oldest_recent: str) -> int:
        """Have this study, or every one (older ones as history), announced again; how many that are in the PACS."""
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


class HeaderQueue(Protocol):
    """Headers that are harvested one by one, durably, and which studies want it. Blocking; dates are DA values."""

    def next_without_headers(self, oldest: str, passed_over: Collection[str]) -> str:
        """The newest announced study, not older than `oldest`, whose headers are not whole; empty: none.

        One whose instances were all asked for `HARVEST_TRIES` times since they changed is left alone.
        """
        ...

    def harvested(self, study_uid: str) -> dict[str, DicomJson]:
        """Its whole headers by SOP Instance UID, as far as they were harvested and are kept."""
        ...

    def keep(self, study_uid: str, headers: Mapping[str, DicomJson], notes: Collection[str] = ()) -> None:
        """Keep headers; `notes`: rejection notes among them, which are kept as long as the study."""
        ...

    def drop(self, study_uid: str, sop_instance_uids: Collection[str]) -> None:
        """These no longer hold: the PACS says otherwise."""
        ...

    def announce(self, study_uid: str) -> None:
        """What was harvested of it is to be told to the centre."""
        ...

    def asked_for_all(self, study_uid: str) -> int:
        """Every instance of it was asked for once more; how many times now."""
        ...
