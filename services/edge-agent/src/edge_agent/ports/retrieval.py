"""Retrieving from the PACS: ways, files, what was asked for."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from edge_agent.model import PacsInstance, RetrievedFile
from edge_agent.retrievals import CopiedStudy, Retrieval
from imaging_common.events import Event, RetrieveRequested


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
