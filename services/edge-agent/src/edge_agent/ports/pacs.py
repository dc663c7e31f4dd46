"""The hospital's PACS as it is asked, and what is known of it without asking."""

from collections.abc import Callable
from typing import Protocol

from edge_agent.model import PacsInstance
from edge_agent.pacs_model import DicomJson, Found, StudyMatch


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


class PacsHealth(Protocol):
    """Whether the PACS answers; the watcher and the retrievals both tell it."""

    def answered(self) -> None:
        """A call was answered."""
        ...

    def failed(self, reason: str) -> None:
        """A call was not answered, or refused."""
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


class PacsEcho(Protocol):
    """Asks the PACS whether it is there (C-ECHO)."""

    async def ask(self) -> int:
        """Milliseconds until it answered with 0x0000.

        Raises
        ------
        PacsUnreachable
            It does not answer.
        PacsRefused
            It answers with a refusal.
        """
        ...
