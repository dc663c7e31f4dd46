"""What writing reports back needs: memory, the centre's objects, the hospital's PACS."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from edge_agent.writebacks import FetchedObject, WriteBack, WriteBackObject
from imaging_common.events import ReportWriteBackRequested
from imaging_common.events.edge import WriteBackReason


class WriteBackLog(Protocol):
    """Commands and what became of them, durably. Blocking; writing methods are durable on return."""

    def take(self, request: ReportWriteBackRequested) -> None:
        """Keep a command: from now on its objects are not the hospital's own.

        The same id again: what goes on goes on; what ended with everything stored is told again; what failed is begun
        again while the new deadline lies ahead, else told again.
        """
        ...

    def due(self, now: float) -> WriteBack | None:
        """The one that is to be tried now; None: none."""
        ...

    def next_at(self) -> float | None:
        """When the next one is due, in seconds since 1970; None: nothing is open."""
        ...

    def mark_stored(self, write_back_id: str, sop_instance_uids: Collection[str]) -> None:
        """The PACS has taken these."""
        ...

    def postpone(self, write_back_id: str, reason: WriteBackReason, not_before: float) -> None:
        """It failed for now."""
        ...

    def finish(self, write_back_id: str, reason: WriteBackReason) -> None:
        """It has ended; the receipt goes to the outbox in the same transaction."""
        ...

    def states(self) -> dict[str, int]:
        """How many write-backs are in which state."""
        ...


class WrittenBack(Protocol):
    """What was written back and is not the hospital's own. Blocking."""

    def of_study(self, study_uid: str) -> frozenset[str]:
        """SOP Instance UIDs of a study's written-back objects, from the moment of the command on."""
        ...

    def present(self, study_uid: str) -> tuple[int, int]:
        """How many of its series and instances the PACS was last seen to count for them."""
        ...

    def saw(self, study_uid: str, series: Mapping[str, str]) -> None:
        """The PACS lists these of them now, and no others: SOP Instance UID → Series Instance UID."""
        ...

    def studies(self) -> frozenset[str]:
        """Studies with written-back objects."""
        ...


class CentreObjects(Protocol):
    """The centre's DICOMweb, for this hospital's agent."""

    async def fetch(self, holder: str, study_uid: str, wanted: WriteBackObject) -> FetchedObject:
        """The object; its SHA-256 is the one that was told.

        Raises
        ------
        RegionUnavailable
            The centre does not answer, does not have it yet, or gives other bytes.
        RegionRefused
            It refuses.
        """
        ...


class PacsStore(Protocol):
    """The PACS, or what else takes the region's reports."""

    async def store(self, files: Sequence[FetchedObject]) -> dict[str, int]:
        """C-STORE each (PS3.4 B); SOP Instance UID → status.

        Raises
        ------
        PacsUnreachable, PacsRefused
            None was sent, or it broke off; what the answer would have told is told by the next try.
        """
        ...
