"""What the outputs of reports need: their tasks, the study's headers and pictures, the ingest, letterheads, a press."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from consult.model import KeyImage, Report, Study
from consult.ports import Writing
from consult.reports.model import Header, Letterhead, OutputsTask, Page, Picture
from consult.reports.phrases import Phrase


class LeaseLost(Exception):
    """Another copy of the service has the task: what this one did is left to it."""


class ReportBook(Protocol):
    """Issued versions, and what has to be made of each."""

    async def versions(self, consult_id: str) -> list[Report]:
        """All issued versions of a case, the oldest first, with what was made of each."""
        ...

    async def task(self, consult_id: str, version: int) -> OutputsTask | None:
        """What has to be made of this version."""
        ...

    async def by_code(self, code: str) -> OutputsTask | None:
        """The version that this verification code stands for."""
        ...

    async def by_write_back(self, write_back_id: str) -> OutputsTask | None:
        """The version whose write-back has this id."""
        ...

    async def claim(self, now: datetime, until: datetime) -> OutputsTask | None:
        """One that is due, for this caller alone until then (its `due_at`); None: there is none."""
        ...

    def adding(self, task: OutputsTask) -> Writing:
        """A new task, within a transition's transaction."""
        ...

    def keeping(self, task: OutputsTask, lease: datetime) -> Writing:
        """What became of it, unless another has it by now (`due_at` is not `lease`): then `LeaseLost`."""
        ...


class PhraseBook(Protocol):
    """Everybody's own phrases."""

    async def phrases(self, user: str) -> list[Phrase]:
        """Theirs."""
        ...

    async def keep_phrases(self, user: str, phrases: Sequence[Phrase]) -> None:
        """Replace them."""
        ...


class Images(Protocol):
    """Headers and pictures of the case's studies, as the region gives them to this service.

    Raises `SourceUnavailable` when they cannot be had now.
    """

    async def header(self, study: Study) -> Header | None:
        """Patient and study at this holder; None: there is no such study."""
        ...

    async def picture(self, image: KeyImage) -> Picture:
        """The image as a picture; what cannot be had of it is left out."""
        ...


class ReportArchive(Protocol):
    """The region's archive."""

    async def store(self, study: Study, files: Sequence[bytes], *, user: str, hospital: str) -> None:
        """Keep these Part 10 files in that study on behalf of a person; all of them, or `SourceUnavailable`."""
        ...


class Letterheads(Protocol):
    """How hospitals sign."""

    async def of(self, hospital: str) -> Letterhead:
        """Its letterhead; the hospital's name where it has set none."""
        ...


class Press(Protocol):
    """Makes PDFs beside the event loop."""

    async def print(self, page: Page) -> bytes:
        """The PDF."""
        ...
