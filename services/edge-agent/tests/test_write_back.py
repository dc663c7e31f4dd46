"""Reports come back into the PACS, once and with an answer, and are never announced as the hospital's own."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.journal import Journal
from edge_agent.adapters.pacs.fake import FakePacs
from edge_agent.adapters.pacs.leaving_out import OwnContents
from edge_agent.adapters.pacs_journal import PacsJournal
from edge_agent.adapters.spool import SpoolFolder
from edge_agent.adapters.write_back_journal import WriteBackJournal
from edge_agent.errors import PacsRefused, PacsUnreachable, RegionRefused, RegionUnavailable
from edge_agent.handlers import build_write_back_router
from edge_agent.model import Arrival, Outcome
from edge_agent.settings import Settings
from edge_agent.usecases.watch_pacs import PacsWatch
from edge_agent.usecases.write_back import ReportWriteBack
from edge_agent.writebacks import FetchedObject, WriteBackObject, is_taken
from imaging_common.events import ManifestEntry, ReportWriteBackRequested, WriteBackDone

STUDY, PDF, KEYS = "1.2.3", "1.2.3.900.1", "1.2.3.901.1"


class FakeCentre:
    """`CentreObjects` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.error: Exception | None = None
        self.fetched: list[str] = []

    async def fetch(self, holder: str, study_uid: str, wanted: WriteBackObject) -> FetchedObject:
        if self.error is not None:
            raise self.error
        self.fetched.append(wanted.sop_instance_uid)
        path = self.folder / f"{wanted.sop_instance_uid}.dcm"
        path.write_bytes(b"object")
        return FetchedObject(path, wanted.sop_instance_uid, wanted.sop_instance_uid.rpartition(".")[0])


class FakeStore:
    """`PacsStore` that answers as it is told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.statuses: dict[str, int] = {}
        self.taken: list[str] = []

    async def store(self, files: Sequence[FetchedObject]) -> dict[str, int]:
        if self.error is not None:
            raise self.error
        answers = {one.sop_instance_uid: self.statuses.get(one.sop_instance_uid, 0) for one in files}
        self.taken += [uid for uid, status in answers.items() if is_taken(status)]
        return answers


class Bench:
    """One agent's write-back over a real journal."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.journal = Journal(SpoolFolder(root).journal_path)
        self.log = WriteBackJournal(self.journal, "tertiary")
        self.centre, self.store = FakeCentre(root), FakeStore()
        self.now = time.time()
        self.desk = ReportWriteBack(self.log, self.centre, self.store, lambda: None)

    async def command(self, seconds: float = 600.0) -> None:
        router = build_write_back_router("tertiary", self.desk)
        handler = router.find("ReportWriteBackRequested", "edge-commands-tertiary")
        assert handler is not None
        await handler(command(seconds), None)  # type: ignore[arg-type]

    async def work(self, seconds: float = 0.0) -> None:
        """Do what is due, so many seconds later."""
        self.now += seconds
        while await self.desk.step(self.now):
            continue

    def told(self) -> list[WriteBackDone]:
        events = [one.event for one in self.journal.next_events(100)]
        return [one for one in events if isinstance(one, WriteBackDone)]


def command(seconds: float = 600.0) -> ReportWriteBackRequested:
    return ReportWriteBackRequested(
        write_back_id="a" * 32,
        consult_id="c" * 32,
        report_version=1,
        study_uid=STUDY,
        holder="tertiary",
        instances=[ManifestEntry(sop_instance_uid=uid, sha256="5" * 64) for uid in (PDF, KEYS)],
        deadline=datetime.now(UTC) + timedelta(seconds=seconds),
    )  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.journal.close()


async def test_report_lies_in_the_pacs_and_is_told_once(bench: Bench) -> None:
    await bench.command()
    await bench.work()
    (receipt,) = bench.told()
    assert (sorted(receipt.stored), receipt.reason) == ([PDF, KEYS], "")
    assert sorted(bench.store.taken) == [PDF, KEYS]
    assert not list(bench.root.glob("*.dcm"))
    assert bench.desk.states() == {"done": 1}


async def test_second_command_is_answered_without_storing_again(bench: Bench) -> None:
    await bench.command()
    await bench.work()
    await bench.command()
    await bench.work()
    assert len(bench.store.taken) == 2
    assert [sorted(one.stored) for one in bench.told()] == [[PDF, KEYS]] * 2


async def test_pacs_that_is_away_is_tried_again_with_growing_pauses(bench: Bench) -> None:
    bench.store.error = PacsUnreachable("away")
    await bench.command()
    await bench.work()
    await bench.work(0.5)
    assert len(bench.centre.fetched) == 2  # the second try is not due yet
    await bench.work(1.0)
    assert len(bench.centre.fetched) == 4
    bench.store.error = None
    await bench.work(1.0)
    assert not bench.told()
    await bench.work(2.0)
    assert [one.reason for one in bench.told()] == [""]


async def test_killed_agent_goes_on_with_what_is_missing(bench: Bench) -> None:
    bench.store.statuses = {KEYS: 0xA700}
    await bench.command()
    await bench.work()
    bench.journal.close()
    again = Bench(bench.root)
    await again.work(10)
    assert again.store.taken == [KEYS]
    assert [(sorted(one.stored), one.reason) for one in again.told()] == [([PDF, KEYS], "")]
    bench.journal = again.journal


@pytest.mark.parametrize(
    ("centre", "store", "reason"),
    [
        (RegionUnavailable("away"), None, "centre-unreachable"),
        (RegionRefused(404), None, "centre-unreachable"),
        (None, PacsUnreachable("away"), "pacs-unreachable"),
        (None, PacsRefused("no context"), "pacs-refused"),
    ],
)
async def test_deadline_ends_it_with_the_reason(
    bench: Bench, centre: Exception | None, store: Exception | None, reason: str
) -> None:
    bench.centre.error, bench.store.error = centre, store
    await bench.command(30)
    await bench.work()
    await bench.work(31)
    (receipt,) = bench.told()
    assert (receipt.stored, receipt.reason) == ([], reason)
    bench.centre.error = bench.store.error = None
    await bench.command(600)  # asked again with a new deadline: tried again
    await bench.work()
    assert bench.told()[-1].reason == ""


async def test_hospital_without_a_target_says_so(bench: Bench) -> None:
    bench.desk = ReportWriteBack(bench.log, None, None, lambda: None)
    await bench.command()
    await bench.work()
    assert [(one.stored, one.reason) for one in bench.told()] == [([], "no-pacs")]


def test_what_the_pacs_forwards_of_it_is_acknowledged_and_not_kept(bench: Bench) -> None:
    bench.log.take(command())
    arrivals = [Arrival(STUDY, "1.2.3.900", PDF, "0" * 64, 10), Arrival(STUDY, "1.2.3.1", "1.2.3.1.9", "1" * 64, 10)]
    assert bench.journal.add(arrivals) == [(Outcome.DUPLICATE, False), (Outcome.NEW, True)]
    assert [one["sop_instance_uid"] for one in bench.journal.states_of(STUDY)] == ["1.2.3.1.9"]


class Door:
    """Keeps nothing."""

    async def put(self, study_uid: str, data: bytes) -> str:
        return f"catalogue-{len(data)}"


class Watch:
    """The watch over a PACS that a report is written back into."""

    def __init__(self, bench: Bench, **pacs: Any) -> None:
        self.bench, self.pacs = bench, FakePacs(**pacs)
        settings = Settings(
            hospital="tertiary", ae_title="T", spool_dir=bench.root, ingest_url="http://127.0.0.1:1", pacs_ae_title="P",
        )  # fmt: skip
        self.knowledge = PacsJournal(bench.journal, "tertiary")
        self.watch = PacsWatch(settings, OwnContents(self.pacs, bench.log), self.knowledge, Door())

    async def sweep(self, times: int = 3) -> list[str]:
        """Sweep and announce; the types of all that was told."""
        for _ in range(times):
            await self.watch.sweep()
            for study_uid, _ in self.knowledge.waiting(time.time(), 10, history=True):
                await self.watch.announce_study(study_uid)
        return [type(one.event).__name__ for one in self.bench.journal.next_events(100)]

    def write_back(self, uid: str) -> None:
        """The report's objects are in the PACS."""
        self.bench.log.take(command().model_copy(update={"study_uid": uid}))
        study = self.pacs.contents.get(uid) or self.pacs.put(uid, 0)
        study.series |= {"1.2.3.900": [PDF], "1.2.3.901": [KEYS]}


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("counts", [True, False])
async def test_written_back_report_is_never_announced(bench: Bench, headers: bool, counts: bool) -> None:
    at = Watch(bench, gives_headers=headers, gives_counts=counts)
    at.pacs.put(STUDY, 2)
    assert await at.sweep() == ["StudyAvailable"]
    at.write_back(STUDY)
    at.watch.hint(STUDY)
    assert await at.sweep() == ["StudyAvailable"]
    questions = at.pacs.questions
    await at.watch.sweep()
    assert at.pacs.questions - questions <= (1 if counts else 5)  # the watch has come to rest
    at.pacs.contents[STUDY].series["1.2.3.1"].append("1.2.3.1.3")
    assert await at.sweep() == ["StudyAvailable"] * 2  # what is the hospital's own still is
    assert [one.sop_instance_uid for one in at.knowledge.instances(STUDY)] == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]
    del at.pacs.contents[STUDY].series["1.2.3.900"]
    assert await at.sweep() == ["StudyAvailable"] * 2  # and its going is no news either


@pytest.mark.parametrize("counts", [True, False])
async def test_study_of_written_back_objects_alone_is_no_study_of_the_hospital(bench: Bench, counts: bool) -> None:
    at = Watch(bench, gives_counts=counts)
    at.write_back("1.2.4")
    assert await at.sweep() == []
    assert at.knowledge.counts().waiting == 0
