"""The whole agent as a process, DCMTK's senders before it and a stand-in of the centre behind it."""

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

ACKNOWLEDGED = "Received C-STORE Response (Success)"
SEND = shutil.which("dcmsend") or "dcmsend"
"""DCMTK's sender; `make deps` brings it, and without it these tests fail."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_series(folder: Path, slices: int, size: int = 64, study: str | None = None) -> tuple[str, list[Path]]:
    """A CT series of small slices; (study UID, files)."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset = pydicom.dcmread(Path(pydicom.__file__).parent / "data/test_files/CT_small.dcm")
    del dataset[0xFFFCFFFC]
    dataset.StudyInstanceUID = study or generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.Rows = dataset.Columns = size
    noise = np.random.default_rng(slices)
    files = []
    for n in range(1, slices + 1):
        dataset.SOPInstanceUID = generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.InstanceNumber = n
        dataset.PixelData = noise.integers(0, 4096, size * size, dtype=np.uint16).tobytes()
        files.append(folder / f"{n:05d}.dcm")
        dataset.save_as(files[-1])
    assert dataset.SOPClassUID == CTImageStorage
    return str(dataset.StudyInstanceUID), files


class Agent:
    """`python -m edge_agent` on free ports."""

    def __init__(self, root: Path, ingest_url: str, **settings: Any) -> None:
        self.port, self.http_port = free_port(), free_port()
        self.spool = root / "spool"
        self.log = root / "agent.log"
        values = {
            "hospital": "community",
            "ae_title": "COMMUNITY",
            "dimse_port": self.port,
            "http_port": self.http_port,
            "allowed_callers": "MODALITY@127.0.0.1,ECHOSCU@*",
            "spool_dir": self.spool,
            "ingest_url": ingest_url,
            "kafka_bootstrap": f"127.0.0.1:{free_port()}",
            "quiet_seconds": 1,
            **settings,
        }
        self._environment = {f"EDGE_AGENT_{key.upper()}": str(value) for key, value in values.items()}
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.http_port}", timeout=5)
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edge_agent"),
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await until(self._receives, self.log)

    async def _receives(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            answer = await self.client.get("/health/ready")
            return bool(answer.json()["checks"]["receivers"] == "ok")
        assert self.process.returncode is None, self.log.read_text()
        return False

    async def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            await asyncio.wait_for(self.process.wait(), 30)
        if not self.client.is_closed:
            await self.client.aclose()

    async def journal(self, study_uid: str) -> dict[str, dict[str, str]]:
        answer = await self.client.get("/journal", params={"study": study_uid})
        answer.raise_for_status()
        return {row["sop_instance_uid"]: row for row in answer.json()}

    async def status(self) -> dict[str, Any]:
        document: dict[str, Any] = (await self.client.get("/status")).json()
        return document

    async def dcmsend(self, *files: Path, caller: str = "MODALITY") -> str:
        return await run(SEND, "-v", "-aet", caller, "-aec", "COMMUNITY", "127.0.0.1", str(self.port), *files)


async def run(*command: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    return output.decode(errors="replace")


def tail(log: Path) -> str:
    return log.read_text()[-2000:]


async def until(condition: Callable[[], Any], log: Path) -> None:
    try:
        async with asyncio.timeout(60):
            while not await condition():  # noqa: ASYNC110  (another process has no event to wait for)
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise AssertionError(f"waited a minute; the log ends: {tail(log)}") from error


Start = Callable[..., Awaitable[Agent]]


@pytest.fixture
async def start_agent(tmp_path: Path, centre: Any) -> AsyncIterator[Start]:
    """Starts agents on one spool, one after the other; the last one is stopped."""
    agents: list[Agent] = []

    async def start(**settings: Any) -> Agent:
        agents.append(Agent(tmp_path, centre.url, **settings))
        await agents[-1].start()
        return agents[-1]

    yield start
    for one in agents:
        await one.stop()


@pytest.fixture(scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory, shared_centre: Any) -> AsyncIterator[Agent]:
    """One agent for the tests that leave nothing behind but studies."""
    one = Agent(tmp_path_factory.mktemp("agent"), shared_centre.url)
    try:
        await one.start()
        yield one
    finally:
        await one.stop()


def digests(files: list[Path]) -> dict[str, str]:
    return {
        str(pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID): hashlib.sha256(
            pydicom.dcmread(f).PixelData
        ).hexdigest()
        for f in files
    }


async def test_series_is_acknowledged_journalled_and_sent(agent: Agent, shared_centre: Any, tmp_path: Path) -> None:
    study, files = write_series(tmp_path / "ct", 40)
    await asyncio.gather(*(agent.dcmsend(*files[i::4]) for i in range(4)))
    journal = await agent.journal(study)
    assert journal.keys() == digests(files).keys()
    await until(lambda: all_sent(agent, study), agent.log)
    assert {uid: {row["sha256"]} for uid, row in journal.items()}.items() <= shared_centre.stored.items()
    batches = [batch for batch in shared_centre.batches if batch[0] in journal]
    assert len(batches[0]) <= 8
    assert all(headers.get("traceparent", "").startswith("00-") for headers in shared_centre.headers)
    for row in journal.values():
        spooled = agent.spool / "instances" / f"{row['sha256']}.dcm"
        assert hashlib.sha256(spooled.read_bytes()).hexdigest() == row["sha256"]
    assert list((agent.spool / "incoming").iterdir()) == []


async def all_sent(agent: Agent, study: str) -> bool:
    return all(row["state"] == "sent" for row in (await agent.journal(study)).values())


async def test_echo_answers_and_strangers_are_refused(agent: Agent, tmp_path: Path) -> None:
    assert await run("echoscu", "127.0.0.1", str(agent.port)) == ""
    study, files = write_series(tmp_path / "ct", 1)
    output = await agent.dcmsend(*files, caller="STRANGER")
    assert "Association Rejected" in output
    assert await agent.journal(study) == {}


async def test_duplicate_changes_nothing_and_other_bytes_are_kept(agent: Agent, tmp_path: Path) -> None:
    study, files = write_series(tmp_path / "ct", 3)
    await agent.dcmsend(*files)
    assert (await agent.dcmsend(*files)).count(ACKNOWLEDGED) == 3
    assert len(await agent.journal(study)) == 3
    changed = pydicom.dcmread(files[0])
    changed.PatientID = "CHANGED"
    changed.save_as(files[0])
    await agent.dcmsend(files[0])
    rows = (await agent.client.get("/journal", params={"study": study})).json()
    assert len(rows) == 4
    assert len({row["sop_instance_uid"] for row in rows}) == 3
    await until(lambda: all_sent(agent, study), agent.log)


async def test_bad_instance_is_refused_and_costs_nobody_else(agent: Agent, tmp_path: Path) -> None:
    study, files = write_series(tmp_path / "ct", 2)
    short = pydicom.dcmread(files[0])
    short.Rows = 512
    short.save_as(files[0])
    assert ACKNOWLEDGED not in await agent.dcmsend(files[0])
    assert ACKNOWLEDGED in await agent.dcmsend(files[1])
    assert len(await agent.journal(study)) == 1
    assert (await agent.status())["refused"]["pixels-short"] == 1


async def test_nothing_acknowledged_is_lost_when_the_agent_is_killed_while_receiving(
    start_agent: Start, centre: Any, tmp_path: Path
) -> None:
    agent = await start_agent()
    study, files = write_series(tmp_path / "ct", 160, size=256)
    senders = [asyncio.create_task(agent.dcmsend(*files[i::4])) for i in range(4)]

    async def some_came() -> bool:
        return len(await agent.journal(study)) >= 30

    await until(some_came, agent.log)
    await agent.kill()
    outputs = await asyncio.gather(*senders)
    acknowledged = sum(output.count(ACKNOWLEDGED) for output in outputs)
    await agent.start()
    journal = await agent.journal(study)
    assert acknowledged <= len(journal) <= acknowledged + 4
    assert list((agent.spool / "incoming").iterdir()) == []
    assert {p.stem for p in (agent.spool / "instances").iterdir()} == {row["sha256"] for row in journal.values()}
    await asyncio.gather(*(agent.dcmsend(*files[i::4]) for i in range(4)))
    await until(lambda: all_sent(agent, study), agent.log)
    journal = await agent.journal(study)
    assert journal.keys() == digests(files).keys()
    assert {uid: {row["sha256"]} for uid, row in journal.items()} == centre.stored


async def test_receiver_is_started_again_when_it_is_killed(agent: Agent, tmp_path: Path) -> None:
    study, files = write_series(tmp_path / "ct", 1)
    for child in psutil.Process(agent.process.pid).children():
        child.kill()

    async def arrives() -> bool:
        await agent.dcmsend(*files)
        return bool(await agent.journal(study))

    await until(arrives, agent.log)


async def test_full_spool_refuses_before_it_keeps_and_recovers_when_freed(
    start_agent: Start, centre: Any, tmp_path: Path
) -> None:
    centre.decide = lambda _, __: 503
    agent = await start_agent(spool_limit_bytes=600_000, first_batch_instances=4)
    study, files = write_series(tmp_path / "ct", 12, size=256)  # 131 KB each
    outputs = [await agent.dcmsend(one) for one in files]
    refused = sum("Refused: OutOfResources" in output for output in outputs)
    journal = await agent.journal(study)
    assert (len(journal), refused) == (4, 8)
    status = await agent.status()
    assert status["spool_bytes"] <= 600_000
    assert status["refused"] == {"full": 8}
    assert sum(p.stat().st_size for p in (agent.spool / "instances").iterdir()) <= 600_000
    ready = await agent.client.get("/health/ready")
    assert ready.status_code == 503
    await agent.stop()
    centre.decide = lambda _, __: {}
    agent = await start_agent(spool_limit_bytes=100_000_000)
    for one in files:
        await agent.dcmsend(one)
    await until(lambda: all_sent(agent, study), agent.log)
    assert len(await agent.journal(study)) == 12


async def test_batches_resume_when_the_agent_restarts_after_the_centre_was_away(
    start_agent: Start, centre: Any, tmp_path: Path
) -> None:
    centre.decide = lambda _, __: 503
    agent = await start_agent()
    study, files = write_series(tmp_path / "ct", 5)
    await agent.dcmsend(*files)
    await agent.stop()
    centre.decide = lambda _, __: {}
    agent = await start_agent()
    await until(lambda: all_sent(agent, study), agent.log)
    assert centre.count == 5


async def test_metrics_and_journal_answer_only_what_they_should(agent: Agent) -> None:
    metrics = (await agent.client.get("/metrics")).text
    assert 'imaging_edge_spool_instances{state="received"} 0.0' in metrics
    assert "imaging_edge_oldest_unsent_seconds 0.0" in metrics
    assert re.search(r"^imaging_edge_disk_free_bytes [1-9]", metrics, re.MULTILINE)
    assert "imaging_edge_pacs_reachable 1.0" not in metrics
    assert (await agent.client.get("/journal", params={"study": "../x"})).status_code == 422
    assert (await agent.client.get("/health/live")).status_code == 200
