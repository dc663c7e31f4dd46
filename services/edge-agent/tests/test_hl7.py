"""Reports and orders by MLLP over TCP: durable before AA, one effect, refused in words, sent for ever."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import hl7
import pytest
from hl7.mllp import open_hl7_connection

from edge_agent.adapters.database import Database
from edge_agent.adapters.order_journal import OrderJournal
from edge_agent.adapters.report_journal import ReportJournal
from edge_agent.errors import CentreUnavailable, ReportRefused
from edge_agent.hl7 import MllpServer
from edge_agent.settings import Settings
from edge_agent.usecases.send_reports import ReportSender
from edge_agent.usecases.take_message import TakeMessage
from imaging_common.testing.waiting import until

LIMIT = 4 << 20


def oru(control: str = "C1", text: str = "两肺清晰", status: str = "F") -> bytes:
    lines = [
        rf"MSH|^~\&|RIS|H|EDGE|C|20261124101500||ORU^R01|{control}|P|2.4||||||GB 18030-2000",
        "PID|1||1001||王^小东||19700102|M",
        f"OBR|1|P7|F7|CT01^胸部CT||||||||||||||A100||||20261124101000|||{status}",
        f"OBX|1|TX|IMP^诊断意见||{text}||||||{status}",
    ]
    return ("\r".join(lines) + "\r").encode("gb18030")


def orm(control: str, order: str = "NW") -> bytes:
    lines = [
        rf"MSH|^~\&|HIS|H|EDGE|C|20261124101500||ORM^O01|{control}|P|2.3||||||UNICODE UTF-8",
        "PID|1||2002||李^娜||19880808|F",
        f"ORC|{order}|P9|F9||||^^^20991125083000",
        "OBR|1|P9|F9|CT02^腹部CT||||||||||||||A9||||||CT",
    ]
    return ("\r".join(lines) + "\r").encode()


class Bench:
    """An agent's journals, as after a start in this folder."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.settings = Settings(
            hospital="community",
            ae_title="COMMUNITY",
            spool_dir=folder,
            ingest_url="http://127.0.0.1:9",
            allowed_callers="*@127.0.0.1",
            mllp_port=port,
            mllp_connections=2,
            mllp_message_bytes=100_000,
            mllp_idle_seconds=0.5,
        )
        self.database = Database(folder / "journal.sqlite")
        self.database.create("schema.sql")
        self.folder = folder / "reports"
        self.reports = ReportJournal(self.database, self.folder, limit)
        self.orders = OrderJournal(self.database)
        self.news = 0
        self.take = TakeMessage("community", self.reports, self.orders, self._notify)

    def _notify(self) -> None:
        self.news += 1

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        task = asyncio.create_task(MllpServer(self.settings, self.take).run())
        await until(self._answers)
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.settings.mllp_port)
        except OSError:
            return False
        writer.close()
        return True


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    yield one
    one.database.close()


def code_and_text(answer: bytes) -> tuple[str, str, str]:
    segment = hl7.parse(answer.decode("gb18030")).segment("MSA")
    return str(segment[1]), str(segment[2]), str(segment[3]) if len(segment) > 3 else ""


async def say(bench: Bench, *messages: bytes) -> list[tuple[str, str, str]]:
    """Messages on one connection."""
    reader, writer = await open_hl7_connection("127.0.0.1", bench.settings.mllp_port, limit=1 << 20)
    answers = []
    try:
        for message in messages:
            writer.writeblock(message)
            await writer.drain()
            answers.append(code_and_text(await asyncio.wait_for(reader.readblock(), 10)))
    finally:
        writer.close()
    return answers


async def ended(reader: asyncio.StreamReader) -> None:
    """The agent closes the connection without a word."""
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_report_is_durable_when_acknowledged_and_counts_once(bench: Bench, tmp_path: Path) -> None:
    async with bench.listening():
        assert await say(bench, oru(), oru(), oru("C2", "右肺结节", "C")) == [
            ("AA", "C1", ""),
            ("AA", "C1", ""),
            ("AA", "C2", ""),
        ]
    after_a_crash = ReportJournal(Database(tmp_path / "journal.sqlite"), tmp_path / "reports", LIMIT)
    waiting = after_a_crash.waiting(10)
    assert [after_a_crash.read(report) for report in waiting] == [oru(), oru("C2", "右肺结节", "C")]
    assert waiting[0].media_type == "x-application/hl7-v2+er7; charset=gb18030"
    assert bench.news == 2


async def test_nothing_is_acknowledged_that_the_disk_does_not_hold(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def failing_sync(folder: Path) -> None:
        steps.append(folder.name)
        raise OSError("no space left on device")

    monkeypatch.setattr("edge_agent.adapters.report_journal.sync_folder", failing_sync)
    async with bench.listening():
        ((code, control, text),) = await say(bench, oru())
    assert (code, control, steps) == ("AE", "C1", ["reports"])
    assert "later" in text
    assert bench.reports.waiting(10) == []
    assert bench.reports.refusals() == {"disk": 1}


async def test_full_folder_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limit=len(oru()) + 10)
    assert code_and_text(bench.take(oru()))[0] == "AA"
    assert code_and_text(bench.take(oru("C2")))[0] == "AE"
    assert code_and_text(bench.take(oru()))[0] == "AA"
    assert bench.reports.counts().waiting == 1
    bench.database.close()


async def test_bad_message_is_refused_in_words_and_the_connection_goes_on(bench: Bench) -> None:
    async with bench.listening():
        adt = oru().replace(b"ORU^R01", b"ADT^A01")
        answers = await say(bench, adt, oru("C3").replace(b"OBX|1|TX", b"OBX|1|XX"), b"hello", oru("C4"))
    assert [answer[:2] for answer in answers] == [("AR", "C1"), ("AE", "C3"), ("AR", ""), ("AA", "C4")]
    assert all("王" not in text and "1001" not in text for _, _, text in answers)
    assert bench.reports.refusals() == {"message-type": 1, "empty-report": 1, "no-header": 1}


async def test_connections_are_bounded_and_nobody_holds_one(bench: Bench) -> None:
    async with bench.listening():
        silent = [await asyncio.open_connection("127.0.0.1", bench.settings.mllp_port) for _ in range(2)]
        third, third_writer = await asyncio.open_connection("127.0.0.1", bench.settings.mllp_port)
        await ended(third)
        third_writer.close()
        for reader, writer in silent:
            await ended(reader)
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.settings.mllp_port)
        writer.write(b"\x0bMSH|" + b"x" * 300_000)
        await ended(reader)
        writer.close()
        assert (await say(bench, oru()))[0][0] == "AA"


async def test_orders_come_and_go_in_the_order_of_the_messages(bench: Bench) -> None:
    async with bench.listening():
        await say(bench, orm("O1"))
        (order,) = bench.orders.open_orders()
        assert (order.patient_name, order.accession, order.modality) == ("=李^娜", "A9", "CT")
        await say(bench, orm("O2", "CA"), orm("O1"))
        assert bench.orders.open_orders() == []
        await say(bench, orm("O3", "NW"))
        assert [one.order_id for one in bench.orders.open_orders()] == [order.order_id]
    assert bench.reports.counts().orders == 3


class FakeReportCentre:
    """Answers as it is told."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.away = 2
        self.lock = threading.Lock()

    async def send(self, data: bytes, media_type: str) -> None:
        if self.away:
            self.away -= 1
            raise CentreUnavailable("away")
        if "坏".encode("gb18030") in data:
            raise ReportRefused(422, "OBR-3 is missing")
        self.got.append(data)


async def test_reports_go_out_until_the_centre_has_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.usecases.send_reports.FIRST_DELAY_SECONDS", 0.01)
    centre = FakeReportCentre()
    sender = ReportSender(bench.reports, centre)
    bench.take(oru("C1"))
    bench.take(oru("C2", "坏"))
    bench.take(oru("C3"))
    task = asyncio.create_task(sender.run())
    await until(lambda: bench.reports.counts().waiting == 0)
    bench.take(oru("C4"))
    sender.notify()
    await until(lambda: bench.reports.counts().sent == 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert centre.got == [oru("C1"), oru("C3"), oru("C4")]
    assert [row["reason"] for row in bench.reports.refused()] == ["OBR-3 is missing"]
    assert len(list(bench.folder.iterdir())) == 1
