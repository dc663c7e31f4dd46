"""The ports of reports in memory, for unit tests."""

from collections.abc import Sequence
from datetime import datetime

from pymongo.asynchronous.client_session import AsyncClientSession

from consult.adapters.fake_consults import FakeConsultStore
from consult.model import KeyImage, Report, Study
from consult.ports import Writing
from consult.reports.errors import SourceUnavailable
from consult.reports.model import Header, Letterhead, OutputsTask, Page, Picture, Stage
from consult.reports.phrases import Phrase
from consult.reports.ports import LeaseLost


class FakeReportBook:
    """Keeps tasks and phrases; the versions are the store's."""

    def __init__(self, store: FakeConsultStore) -> None:
        self._store = store
        self.tasks: dict[str, OutputsTask] = {}
        self.own: dict[str, list[Phrase]] = {}

    async def versions(self, consult_id: str) -> list[Report]:
        """See `ReportBook.versions`."""
        consult = self._store.consults.get(consult_id)
        own = consult.report.id if consult and consult.report else ""
        found = sorted((one for one in self._store.versions.values() if one.id == own), key=lambda one: one.version)
        made = {task.version: task.outputs for task in self.tasks.values() if task.consult_id == consult_id}
        return [one.model_copy(update={"outputs": made.get(one.version, one.outputs)}) for one in found]

    async def task(self, consult_id: str, version: int) -> OutputsTask | None:
        """See `ReportBook.task`."""
        return self._find(lambda one: (one.consult_id, one.version) == (consult_id, version))

    async def by_code(self, code: str) -> OutputsTask | None:
        """See `ReportBook.by_code`."""
        return self._find(lambda one: one.verification_code == code)

    async def by_write_back(self, write_back_id: str) -> OutputsTask | None:
        """See `ReportBook.by_write_back`."""
        return self._find(lambda one: one.write_back_id == write_back_id)

    async def claim(self, now: datetime, until: datetime) -> OutputsTask | None:
        """See `ReportBook.claim`."""
        due = [one for one in self.tasks.values() if one.stage is not Stage.DONE and one.due_at <= now]
        if not due:
            return None
        self.tasks[due[0].id] = due[0].model_copy(update={"due_at": until})
        return self.tasks[due[0].id]

    def adding(self, task: OutputsTask) -> Writing:
        """See `ReportBook.adding`."""

        async def write(_: AsyncClientSession) -> None:
            self.tasks[task.id] = task

        return write

    def keeping(self, task: OutputsTask, lease: datetime) -> Writing:
        """See `ReportBook.keeping`."""

        async def write(_: AsyncClientSession) -> None:
            if self.tasks[task.id].due_at != lease:
                raise LeaseLost
            self.tasks[task.id] = task

        return write

    async def phrases(self, user: str) -> list[Phrase]:
        """See `PhraseBook.phrases`."""
        return self.own.get(user, [])

    async def keep_phrases(self, user: str, phrases: Sequence[Phrase]) -> None:
        """See `PhraseBook.keep_phrases`."""
        self.own[user] = list(phrases)

    def _find(self, fits: object) -> OutputsTask | None:
        assert callable(fits)
        return next((one for one in self.tasks.values() if fits(one)), None)


class FakeImages:
    """One study's header; every image has the same picture."""

    def __init__(self, header: Header | None, jpeg: bytes | None = None) -> None:
        self.known = header
        self.jpeg = jpeg
        self.away = False

    async def header(self, study: Study) -> Header | None:
        """See `Images.header`."""
        if self.away:
            raise SourceUnavailable("the gateway does not answer")
        return self.known

    async def picture(self, image: KeyImage) -> Picture:
        """See `Images.picture`."""
        return Picture(
            image=image, sop_class_uid="1.2.840.10008.5.1.4.1.1.2", series_number=3, instance_number=42,
            modality="CT", jpeg=self.jpeg,
        )  # fmt: skip


class FakeArchive:
    """Keeps what was stored."""

    def __init__(self) -> None:
        self.stored: list[tuple[Study, list[bytes], str, str]] = []
        self.away = False

    async def store(self, study: Study, files: Sequence[bytes], *, user: str, hospital: str) -> None:
        """See `ReportArchive.store`."""
        if self.away:
            raise SourceUnavailable("the ingest does not answer")
        self.stored.append((study, list(files), user, hospital))


class FakeLetterheads:
    """Every hospital is named by its id."""

    async def of(self, hospital: str) -> Letterhead:
        """See `Letterheads.of`."""
        return Letterhead(name_zh=hospital)


class FakePress:
    """Prints a line."""

    def __init__(self) -> None:
        self.pages: list[Page] = []

    async def print(self, page: Page) -> bytes:
        """See `Press.print`."""
        self.pages.append(page)
        return f"%PDF-1.7 {page.consult.number} v{page.report.version}".encode()
