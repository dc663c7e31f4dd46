"""Retrieving with PACS and centre as fakes: order, urgency, failures, resuming, cancelling, copying for good."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.journal import Journal
from edge_agent.adapters.migration_journal import MigrationJournal
from edge_agent.adapters.pacs_retrieve.fake import FakePacs
from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.adapters.pacs_retrieve.multipart import FilesOfParts
from edge_agent.adapters.pacs_slots import PacsSlots
from edge_agent.adapters.retrieval_journal import RetrievalJournal
from edge_agent.errors import BatchRefused, CentreUnavailable, PacsRefused, PacsUnreachable, RetrieveFolderFull
from edge_agent.model import PacsInstance, RetrievedFile
from edge_agent.ports import StoreAnswer
from edge_agent.settings import Settings
from edge_agent.usecases import retrieve_studies
from edge_agent.usecases.copy_history import Migration
from edge_agent.usecases.find_instances import FindInstances
from edge_agent.usecases.limit_bandwidth import Bandwidth
from edge_agent.usecases.refuse_retrievals import NoRetrievals
from edge_agent.usecases.retrieve_studies import Retrievals
from edge_agent.usecases.tell_progress import ProgressTeller
from imaging_common.events import (
    Event,
    HospitalRegistered,
    RetrieveFailed,
    RetrieveProgressed,
    RetrieveRequested,
    SeriesWanted,
)
from imaging_common.messaging import FakePublisher
from imaging_common.telemetry import attached
from imaging_common.testing.waiting import until


class FakeCentre:
    """Keeps what was stored by retrieval id; `answer` may refuse or raise."""

    def __init__(self) -> None:
        self.batches: list[tuple[str | None, list[str]]] = []
        self.answer: Callable[[list[str]], StoreAnswer] = lambda uids: StoreAnswer(set(uids))

    async def store(
        self, study_uid: str, batch: Sequence[RetrievedFile], retrieval_id: str | None = None
    ) -> StoreAnswer:
        uids = [one.sop_instance_uid for one in batch]
        assert all(one.path.exists() for one in batch)
        answer = self.answer(uids)
        self.batches.append((retrieval_id, uids))
        return answer

    def stored(self, retrieval_id: str | None = None) -> list[str]:
        return [uid for own, uids in self.batches for uid in uids if retrieval_id in (None, own)]


class FakeContents:
    """What is known of the PACS."""

    def __init__(self) -> None:
        self.known: dict[str, list[PacsInstance]] = {}

    def put(self, study: str, count: int, series: int = 1) -> list[str]:
        self.known[study] = [
            PacsInstance(study, f"{study}.{s}", f"{study}.{s}.{n}", "1.2.840.10008.5.1.4.1.1.2", n)
            for s in range(1, series + 1)
            for n in range(1, count + 1)
        ]
        return [one.sop_instance_uid for one in self.known[study]]

    def instances(self, study_uid: str) -> list[PacsInstance]:
        return self.known.get(study_uid, [])

    def studies(self) -> list[str]:
        return list(self.known)


class FakeQuery:
    """A PACS that knows nothing when asked."""

    gives_headers = False

    async def series(self, study_uid: str) -> list[dict[str, Any]]:
        return []

    async def instances(self, study_uid: str, series_uid: str) -> list[dict[str, Any]]:
        return []


class FakeHealth:
    def __init__(self) -> None:
        self.said: Counter[str] = Counter()

    def answered(self) -> None:
        self.said["answered"] += 1

    def failed(self, reason: str) -> None:
        self.said[reason] += 1


class Bench:
    """One agent's retrieving on a folder; `restart` is a killed agent's successor."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.settings = Settings(
            hospital="tcm",
            ae_title="TCM",
            spool_dir=root,
            ingest_url="http://127.0.0.1:1",
            pacs_ae_title="P",
            **settings,
        )
        self.journal = Journal(root / "journal.sqlite")
        self.log = RetrievalJournal(self.journal)
        self.contents, self.centre = FakeContents(), FakeCentre()
        self.restart()

    def restart(self) -> None:
        self.folder = RetrieveFolder(self.settings.spool_dir, self.settings.retrieve_folder_bytes)
        self.pacs = FakePacs(self.folder)
        self.publisher, self.health = FakePublisher(), FakeHealth()
        self.slots = PacsSlots(self.settings.pacs_associations)
        progress = ProgressTeller("tcm", self.publisher, lambda: None)
        self.retrievals = Retrievals(
            self.settings,
            self.log,
            FindInstances(self.contents, FakeQuery()),  # type: ignore[arg-type]
            self.pacs,
            self.folder,
            self.centre,  # type: ignore[arg-type]
            self.slots,
            self.health,
            progress,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.retrievals.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def ends(self) -> list[Event]:
        """What stands in the outbox."""
        return [one.event for one in self.journal.next_events(1000)]

    async def ended(self, count: int = 1) -> list[Event]:
        await until(lambda: len(self.ends()) >= count, 20, f"{count} endings")
        return self.ends()


def request(number: int, study: str, *, revision: int = 1, priority: int = 0, seconds: float = 60, **rest: Any) -> Any:
    return RetrieveRequested(
        retrieval_id=f"{number:032x}",
        revision=revision,
        study_uid=study,
        priority=priority,
        deadline=datetime.now(UTC) + timedelta(seconds=seconds),
        **rest,
    )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(retrieve_studies, "FIRST_DELAY_SECONDS", 0.01)
    return Bench(tmp_path)


async def test_what_is_wanted_first_goes_first_and_alone_when_a_study_is_opened(bench: Bench) -> None:
    uids = bench.contents.put("1.2", 60, series=2)
    first = [uids[70], uids[10]]
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2", first=first))
        (end,) = await bench.ended()
    assert bench.pacs.asked[:2] == [[first[0]], [first[1]]]
    assert [uids for _, uids in bench.centre.batches[:2]] == [[first[0]], [first[1]]]
    assert sorted(bench.centre.stored(f"{1:032x}")) == sorted(uids)
    assert isinstance(end, RetrieveProgressed)
    assert (end.state, end.instances_done, end.instances_total, end.bytes_done) == ("done", 120, 120, 120_000)
    assert not list(bench.folder.path.iterdir())
    assert bench.folder.used == 0


async def test_who_asked_is_told_in_the_same_trace_when_a_study_is_opened(bench: Bench) -> None:
    bench.contents.put("1.2", 3)
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    with attached(f"00-{trace_id}-b7ad6b7169203331-01"):
        asked = bench.log.take_request(request(1, "1.2"))
    assert asked is not None
    assert trace_id in (asked.traceparent or "")
    async with bench.running():
        await bench.retrievals.add_original(asked)
        await bench.ended()
    (event,) = [one for one in bench.journal.next_events(10) if isinstance(one.event, RetrieveProgressed)]
    assert trace_id in (event.traceparent or "")


async def test_only_the_asked_for_series_come_when_a_request_names_them(bench: Bench) -> None:
    uids = bench.contents.put("1.2", 5, series=3)
    wanted = [SeriesWanted(series_uid="1.2.3"), SeriesWanted(series_uid="1.2.1", instances=[uids[1], "1.2.1.99"])]
    bench.pacs.gone = {"1.2.1.99"}
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2", series=wanted))
        (end,) = await bench.ended()
    assert set(bench.centre.stored()) == {*uids[10:], uids[1]}
    assert isinstance(end, RetrieveProgressed)
    assert (end.state, end.missing) == ("done", ["1.2.1.99"])


async def test_somebody_who_looks_does_not_wait_when_prefetches_run(bench: Bench) -> None:
    prefetched, looked_at = bench.contents.put("1.5", 400), bench.contents.put("1.1", 3)
    gate = asyncio.Event()
    bench.pacs.gate = lambda uids: gate if uids[0].startswith("1.5") else None
    async with bench.running():
        await bench.retrievals.request(request(5, "1.5", priority=5))
        await until(lambda: len(bench.pacs.asked) == 3)  # of four slots one stays free
        await bench.retrievals.request(request(1, "1.1", priority=0))
        await bench.ended()
        assert sorted(bench.centre.stored()) == sorted(looked_at)
        gate.set()
        await bench.ended(2)
    assert sorted(bench.centre.stored(f"{5:032x}")) == sorted(prefetched)


async def test_the_earlier_deadline_goes_first_when_priorities_are_equal(tmp_path: Path) -> None:
    bench = Bench(tmp_path, pacs_associations=1)
    for study in ("1.1", "1.2", "1.3"):
        bench.contents.put(study, 2)
    await bench.retrievals.request(request(1, "1.1", priority=5, seconds=90))
    await bench.retrievals.request(request(2, "1.2", priority=5, seconds=50))
    await bench.retrievals.request(request(3, "1.3", priority=2, seconds=500))
    async with bench.running():
        await bench.ended(3)
    assert [uids[0][:3] for uids in bench.pacs.asked] == ["1.3", "1.2", "1.1"]


async def test_a_higher_revision_reorders_and_a_repeated_one_changes_nothing(bench: Bench) -> None:
    uids = bench.contents.put("1.2", 200)
    gate = asyncio.Event()
    bench.pacs.gate = lambda uids: gate
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2", priority=5))
        await until(lambda: len(bench.pacs.asked) == 3)
        await bench.retrievals.request(request(1, "1.2", revision=1, first=[uids[100]]))
        await bench.retrievals.request(request(1, "1.2", revision=3, first=[uids[199]]))
        await bench.retrievals.request(request(1, "1.2", revision=2, first=[uids[150]]))
        await until(lambda: len(bench.pacs.asked) == 4)
        gate.set()
        await bench.ended()
    assert bench.pacs.asked[3] == [uids[199]]
    assert Counter(bench.centre.stored()) == Counter(uids)


async def test_one_bad_instance_costs_one_instance_when_the_pacs_breaks_off_at_it(bench: Bench) -> None:
    uids = bench.contents.put("1.2", 40)
    bench.pacs.breaks_at = {uids[20]}
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2"))
        (end,) = await bench.ended()
    assert isinstance(end, RetrieveProgressed)
    assert end.missing == [uids[20]]
    assert Counter(bench.centre.stored()) == Counter(set(uids) - {uids[20]})
    assert sum(uids[20] in asked for asked in bench.pacs.asked) <= 6


@pytest.mark.parametrize(
    ("away", "reason"), [(PacsUnreachable("x"), "pacs-unreachable"), (PacsRefused("x"), "pacs-refused")]
)
async def test_a_retrieval_fails_after_a_few_tries_when_the_pacs_is_away(
    bench: Bench, away: Exception, reason: str
) -> None:
    bench.contents.put("1.2", 40)
    bench.pacs.away = away
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2"))
        (end,) = await bench.ended()
    assert isinstance(end, RetrieveFailed)
    assert (end.reason, end.instances_missing) == (reason, 40)
    assert bench.health.said[reason] == len(bench.pacs.asked) <= 20


async def test_a_retrieval_goes_on_with_what_is_missing_when_the_pacs_is_back(bench: Bench) -> None:
    uids = bench.contents.put("1.2", 40)
    bench.pacs.away = PacsUnreachable("x")
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2"))
        await until(lambda: bool(bench.health.said))
        bench.pacs.away = None
        await bench.ended()
    assert Counter(bench.centre.stored()) == Counter(uids)


async def test_a_study_the_pacs_does_not_have_is_gone(bench: Bench) -> None:
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2"))
        (unknown,) = await bench.ended()
        bench.pacs.gone = set(bench.contents.put("1.3", 2))
        await bench.retrievals.request(request(2, "1.3"))
        _, deleted = await bench.ended(2)
    assert isinstance(unknown, RetrieveFailed)
    assert isinstance(deleted, RetrieveFailed)
    assert (unknown.reason, deleted.reason) == ("study-gone", "study-gone")


async def test_it_waits_and_goes_on_when_the_centre_is_away(bench: Bench) -> None:
    uids = bench.contents.put("1.2", 40)
    tries = iter(range(1000))

    def away(uids: list[str]) -> StoreAnswer:
        if 3 <= next(tries) < 6:
            raise CentreUnavailable("x")
        return StoreAnswer(set(uids))

    bench.centre.answer = away
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2"))
        await bench.ended()
    assert Counter(bench.centre.stored()) == Counter(uids)
    assert Counter(uid for asked in bench.pacs.asked for uid in asked) == Counter(uids)


async def test_the_deadline_ends_it_when_the_centre_stays_away(bench: Bench) -> None:
    bench.contents.put("1.2", 40)

    def away(_: list[str]) -> StoreAnswer:
        raise CentreUnavailable("x")

    bench.centre.answer = away
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2", seconds=0.5))
        (end,) = await bench.ended()
        await until(lambda: bench.folder.used == 0)
    assert isinstance(end, RetrieveFailed)
    assert (end.reason, end.instances_done, end.instances_missing) == ("deadline", 0, 40)


async def test_a_refused_instance_is_missing_and_costs_no_other(bench: Bench) -> None:
    uids = bench.contents.put("1.2", 12)

    def refuse(batch: list[str]) -> StoreAnswer:
        if uids[4] in batch:
            raise BatchRefused(400)
        return StoreAnswer(set(batch))

    bench.centre.answer = refuse
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2"))
        (end,) = await bench.ended()
    assert isinstance(end, RetrieveProgressed)
    assert (end.missing, end.instances_done) == ([uids[4]], 11)


async def test_only_the_missing_are_fetched_again_when_the_agent_was_killed(bench: Bench) -> None:
    uids = bench.contents.put("1.2", 100)
    hold = asyncio.Event()
    bench.pacs.gate = lambda _: hold if sum(map(len, bench.pacs.asked)) > 60 else None
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2"))
        await until(lambda: len(bench.centre.stored()) > 20 and bench.log.done(f"{1:032x}").keys() > set(uids[:20]))
    acknowledged = set(bench.log.done(f"{1:032x}"))
    (bench.folder.path / "left-behind.part").write_bytes(b"x")
    bench.restart()
    assert not list(bench.folder.path.iterdir())
    async with bench.running():
        (end,) = await bench.ended()
    assert {uid for asked in bench.pacs.asked for uid in asked} == set(uids) - acknowledged
    assert isinstance(end, RetrieveProgressed)
    assert (end.instances_done, end.bytes_done) == (100, 100_000)


async def test_nothing_more_is_fetched_when_it_is_cancelled(bench: Bench) -> None:
    bench.contents.put("1.2", 200)
    gate = asyncio.Event()
    bench.pacs.gate = lambda _: gate
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2"))
        await until(lambda: len(bench.pacs.asked) == 4)
        await bench.retrievals.cancel(f"{1:032x}", "1.2")
        gate.set()
        await until(lambda: bench.slots.free == 4)
        await bench.retrievals.request(request(1, "1.2"))  # delivered again
        await bench.retrievals.cancel(f"{2:032x}", "1.3")
        await bench.retrievals.request(request(2, "1.3"))  # overtaken by its cancellation
    assert len(bench.pacs.asked) == 4
    assert not bench.centre.batches
    assert not list(bench.folder.path.iterdir())
    ends = bench.ends()
    assert [getattr(end, "state", "") for end in ends] == ["cancelled", "cancelled"]


async def test_a_small_folder_slows_a_retrieval_down_and_breaks_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, retrieve_folder_bytes=10_000)
    uids = bench.contents.put("1.2", 100)
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2"))
        (end,) = await bench.ended()
    assert isinstance(end, RetrieveProgressed)
    assert sorted(bench.centre.stored()) == sorted(uids)


async def test_a_full_disk_fails_the_retrieval_and_nothing_else(bench: Bench) -> None:
    bench.contents.put("1.2", 5)
    uids = bench.contents.put("1.3", 5)
    bench.pacs.away = RetrieveFolderFull("x", broken=True)
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2"))
        (end,) = await bench.ended()
        bench.pacs.away = None
        await bench.retrievals.request(request(2, "1.3"))
        await bench.ended(2)
    assert isinstance(end, RetrieveFailed)
    assert (end.reason, end.instances_missing) == ("disk-full", 5)
    assert sorted(bench.centre.stored()) == sorted(uids)


@pytest.mark.parametrize("cut", [1, 2, 7, 64, 100_000])
def test_parts_become_files_wherever_the_body_is_cut(tmp_path: Path, cut: int) -> None:
    contents = [b"a" * 3000 + b"\r\n", b"\r\n--", bytes(range(256)) * 9]
    body = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in contents)
    body += b"--b--\r\n"
    folder = RetrieveFolder(tmp_path, 1 << 20)
    parts = FilesOfParts(folder, b"b")
    paths = [path for at in range(0, len(body), cut) for path in parts.feed(body[at : at + cut])]
    assert parts.ended
    assert [path.read_bytes() for path in paths] == contents
    assert folder.used == sum(map(len, contents))


async def test_progress_is_told_at_most_twice_a_second(bench: Bench) -> None:
    bench.contents.put("1.2", 300)
    async with bench.running():
        await bench.retrievals.request(request(1, "1.2"))
        await bench.ended()
    told = [event for _, event, _ in bench.publisher.published if isinstance(event, RetrieveProgressed)]
    assert 1 <= len(told) <= 3
    assert {event.state for event in told} == {"running"}
    assert told[0].instances_total == 300


async def test_a_request_is_answered_at_once_when_there_is_no_pacs(bench: Bench) -> None:
    refusing = NoRetrievals(bench.log, ProgressTeller("tcm", bench.publisher, lambda: None))
    for _ in range(2):
        await refusing.request(request(1, "1.2"))
    (end,) = bench.ends()
    assert isinstance(end, RetrieveFailed)
    assert end.reason == "pacs-unreachable"


async def test_history_is_copied_for_good_when_the_hospital_becomes_central(bench: Bench) -> None:
    def policy(tier: str, revision: int) -> HospitalRegistered:
        return HospitalRegistered(
            hospital="tcm",
            revision=revision,
            name_zh="x",
            name_en="x",
            level="secondary",
            tier=tier,  # type: ignore[arg-type]
        )

    migration = Migration("tcm", MigrationJournal(bench.journal), bench.contents, bench.retrievals)  # type: ignore[arg-type]
    studies = {f"1.{n}": bench.contents.put(f"1.{n}", 3) for n in range(5)}
    copied = lambda: migration.progress.get("copied")  # noqa: E731
    async with bench.running():
        task = asyncio.create_task(migration.run())
        await migration.take_policy(policy("distributed", 1))
        await migration.take_policy(policy("central", 2))
        await until(lambda: copied() == 5)
        studies["1.9"] = bench.contents.put("1.9", 3)
        studies["1.0"] = bench.contents.put("1.0", 4)
        for known in (6, 6):
            migration.notify()
            await until(lambda known=known: copied() == known)  # type: ignore[misc]
        await until(lambda: len(bench.centre.stored("")) == 19)
        await migration.take_policy(policy("distributed", 3))
        await until(lambda: migration.progress == {"tier": "distributed"})
        bench.contents.put("1.10", 3)
        migration.notify()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert Counter(bench.centre.stored("")) == Counter(uid for uids in studies.values() for uid in uids)
    assert not bench.ends()


async def test_bandwidth_is_kept_and_the_urgent_go_first() -> None:
    bandwidth = Bandwidth(100_000)
    order: list[int] = []

    async def send(priority: int) -> None:
        await bandwidth.take(20_000, (priority, 0.0))
        order.append(priority)

    await bandwidth.take(110_000, (5, 0.0))  # more than there is: the next ones wait
    began = asyncio.get_running_loop().time()
    await asyncio.gather(send(9), send(5), send(0))
    assert order == [0, 5, 9]
    assert 0.35 < asyncio.get_running_loop().time() - began < 2
