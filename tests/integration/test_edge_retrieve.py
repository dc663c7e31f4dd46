"""An edge agent retrieves from real PACS: Orthanc by WADO-RS and C-GET, dcmqrscp by C-GET and C-MOVE; and faults."""

import asyncio
import hashlib
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_agent.adapters.journal import Journal
from edge_agent.adapters.spool import SpoolFolder
from edge_agent.model import RetrievedFile
from edge_agent.pacs import PacsSide
from edge_agent.ports import StoreAnswer
from edge_agent.retrieving import RetrievingSide
from edge_agent.settings import Settings
from imaging_common.dicom import check_instance
from imaging_common.events import Event, RetrieveCancelled, RetrieveFailed, RetrieveProgressed, RetrieveRequested
from imaging_common.messaging import FakePublisher
from imaging_common.testing.waiting import until
from imaging_native.ct import Series, write_series
from imaging_native.pacs import DcmqrscpPacs, OrthancPacs
from imaging_native.ports import free_port

SLICES = 60
RETRIEVAL = "a" * 32


class Centre:
    """Takes files as the centre does; `pause` holds its answers back."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.bytes: dict[str, str] = {}
        self.pause: Callable[[], asyncio.Event | None] = lambda: None

    async def store(
        self, study_uid: str, batch: Sequence[RetrievedFile], retrieval_id: str | None = None
    ) -> StoreAnswer:
        if (event := self.pause()) is not None:
            await event.wait()
        for one in batch:
            data = one.path.read_bytes()
            assert check_instance(data).study_uid == study_uid
            self.bytes[one.sop_instance_uid] = hashlib.sha256(data[data.index(b"DICM") :]).hexdigest()
        uids = [one.sop_instance_uid for one in batch]
        self.batches.append(uids)
        return StoreAnswer(set(uids))

    @property
    def stored(self) -> Counter[str]:
        return Counter(uid for batch in self.batches for uid in batch)


@dataclass
class Hospital:
    """A PACS with one series in it, and ports for an agent beside it."""

    folder: Path
    series: Series
    pacs: OrthancPacs | DcmqrscpPacs
    move_port: int
    uids: list[str] = field(default_factory=list)


class Agent:
    """What retrieves of one agent; made anew on the same folder it is its successor."""

    def __init__(self, hospital: Hospital, spool: Path, **settings: Any) -> None:
        spool.mkdir(exist_ok=True)
        self.settings = Settings(
            hospital="tcm",
            ae_title="EDGE",
            spool_dir=spool,
            ingest_url="http://127.0.0.1:1",
            allowed_callers="*@127.0.0.1",
            pacs_ae_title=hospital.pacs.ae_title,
            pacs_port=hospital.pacs.port,
            pacs_timeout_seconds=5,
            **settings,
        )
        self.centre = Centre()
        self.journal = Journal(SpoolFolder(spool).journal_path)
        self.pacs = PacsSide(self.settings, self.journal, None, lambda: None)
        self.side = RetrievingSide(
            self.settings,
            self.journal,
            self.pacs,
            self.centre,
            FakePublisher(),
            lambda: None,  # type: ignore[arg-type]
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.side.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.pacs.query.close()
            await self.pacs.close()

    async def ask(self, hospital: Hospital, seconds: float = 60, **rest: Any) -> None:
        await self.side.request(
            RetrieveRequested(
                retrieval_id=RETRIEVAL,
                study_uid=hospital.series.study_uid,
                priority=0,
                deadline=datetime.now(UTC) + timedelta(seconds=seconds),
                **rest,
            )
        )

    async def ended(self) -> Event:
        await until(lambda: bool(self.journal.next_events(9)), 60, "the retrieval ended")
        return self.journal.next_events(9)[-1].event


@asynccontextmanager
async def hospital_with(folder: Path, kind: str, options: tuple[str, ...] = ()) -> AsyncIterator[Hospital]:
    folder.mkdir()  # noqa: ASYNC240
    move_port = free_port()
    peers = {"EDGE_MV": move_port}
    pacs = OrthancPacs("x", folder, peers) if kind == "orthanc" else DcmqrscpPacs("x", folder, peers, options=options)
    series = write_series(folder / "ct", slices=SLICES, seed=41)
    uids = [check_instance(path, with_header=False).sop_instance_uid for path in series.files]
    pacs.prepare()
    await pacs.process.start()
    try:
        await asyncio.to_thread(fill, pacs, series)
        yield Hospital(folder, series, pacs, move_port, uids)
    finally:
        await pacs.process.stop()


def fill(pacs: OrthancPacs | DcmqrscpPacs, series: Series) -> None:
    if isinstance(pacs, OrthancPacs):
        with httpx.Client(timeout=30) as client:
            for path in series.files:
                client.post(f"{pacs.url}/instances", content=path.read_bytes()).raise_for_status()
        return
    command = ["dcmsend", "-nuc", "-aec", pacs.ae_title, "127.0.0.1", str(pacs.port), "+sd", str(series.folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
async def orthanc(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hospital]:
    async with hospital_with(tmp_path_factory.mktemp("orthanc") / "h", "orthanc") as hospital:
        yield hospital


@pytest.fixture(scope="module")
async def dcmqrscp(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hospital]:
    async with hospital_with(tmp_path_factory.mktemp("dcmqrscp") / "h", "dcmqrscp") as hospital:
        yield hospital


@pytest.mark.parametrize(
    ("make", "way"), [("orthanc", "auto"), ("orthanc", "c-get"), ("dcmqrscp", "auto"), ("dcmqrscp", "c-move")]
)
async def test_a_study_comes_whole_and_first_first_by_every_way(
    make: str, way: str, tmp_path: Path, orthanc: Hospital, dcmqrscp: Hospital
) -> None:
    hospital = orthanc if make == "orthanc" else dcmqrscp
    web = hospital.pacs.dicomweb_url if way == "auto" else ""
    agent = Agent(hospital, tmp_path, pacs_retrieve=way, pacs_dicomweb_url=web, move_port=hospital.move_port)
    async with agent.running():
        await agent.ask(hospital, first=[hospital.uids[40], hospital.uids[3]])
        end = await agent.ended()
        expected = {("orthanc", "auto"): "wado-rs", ("dcmqrscp", "auto"): "c-get"}.get((make, way), way)
        assert agent.side.retriever.name == expected
    assert {agent.centre.batches[n][0] for n in (0, 1)} == {hospital.uids[40], hospital.uids[3]}
    assert agent.centre.stored == Counter(hospital.uids)
    assert isinstance(end, RetrieveProgressed)
    assert (end.state, end.instances_done, end.missing) == ("done", SLICES, [])
    assert not list((tmp_path / "retrieved").iterdir())
    if expected == "wado-rs":  # as they came from the modality, head and all
        originals = [path.read_bytes() for path in hospital.series.files]
        digests = {hashlib.sha256(data[data.index(b"DICM") :]).hexdigest() for data in originals}
        assert set(agent.centre.bytes.values()) == digests


async def test_auto_falls_back_to_c_move_when_the_pacs_refuses_c_get(tmp_path: Path) -> None:
    async with hospital_with(tmp_path / "h", "dcmqrscp", ("--disable-get",)) as hospital:
        agent = Agent(hospital, tmp_path / "spool", move_port=hospital.move_port)
        async with agent.running():
            await agent.ask(hospital)
            await agent.ended()
            assert agent.side.retriever.name == "c-move"
        assert agent.centre.stored == Counter(hospital.uids)


async def test_only_the_missing_come_again_when_pacs_and_agent_were_killed(tmp_path: Path) -> None:
    async with hospital_with(tmp_path / "h", "dcmqrscp") as hospital:
        agent = Agent(hospital, tmp_path / "spool")
        held = asyncio.Event()
        agent.centre.pause = lambda: held if len(agent.centre.stored) >= 10 else None
        async with agent.running():
            await agent.ask(hospital)
            await until(lambda: len(agent.side.log.done(RETRIEVAL)) >= 10)
            hospital.pacs.process.kill()
        before = agent.side.log.done(RETRIEVAL)
        successor = Agent(hospital, tmp_path / "spool")
        async with successor.running():
            await until(lambda: any(work.failures for work in successor.side.retrievals._works.values()))  # type: ignore[union-attr]
            await hospital.pacs.process.start()
            end = await successor.ended()
        assert isinstance(end, RetrieveProgressed)
        assert (end.state, end.instances_done) == ("done", SLICES)
        assert successor.centre.stored == Counter(set(hospital.uids) - set(before))


async def test_viewers_are_told_when_the_pacs_refuses_or_is_away(tmp_path: Path) -> None:
    async with hospital_with(tmp_path / "h", "dcmqrscp") as hospital:
        await hospital.pacs.process.stop()
        agent = Agent(hospital, tmp_path / "spool")
        async with agent.running():
            await agent.ask(hospital, seconds=3)
            end = await agent.ended()
        assert isinstance(end, RetrieveFailed)
        assert end.reason in ("pacs-unreachable", "deadline")
        assert end.instances_done == 0


async def test_a_cancelled_retrieval_stops_and_its_files_go(orthanc: Hospital, tmp_path: Path) -> None:
    agent = Agent(orthanc, tmp_path, pacs_dicomweb_url=orthanc.pacs.dicomweb_url)
    held = asyncio.Event()
    agent.centre.pause = lambda: held
    async with agent.running():
        await agent.ask(orthanc)
        await until(lambda: agent.side.folder.used > 1 << 20)
        await agent.side.cancel(RetrieveCancelled(retrieval_id=RETRIEVAL, study_uid=orthanc.series.study_uid))
        end = await agent.ended()
        held.set()
        await until(lambda: not list((tmp_path / "retrieved").iterdir()))
    assert isinstance(end, RetrieveProgressed)
    assert end.state == "cancelled"
    assert len(agent.centre.stored) < SLICES
