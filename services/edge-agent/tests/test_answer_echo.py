"""An operator's test of the PACS: asked beside the other commands, answered in any case, not asked too late."""

from datetime import UTC, datetime, timedelta

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from edge_agent.adapters.pacs.echo import DimseEcho
from edge_agent.adapters.pacs_slots import PacsSlots
from edge_agent.errors import PacsRefused, PacsUnreachable
from edge_agent.handlers import build_echo_router
from edge_agent.settings import Settings
from edge_agent.usecases.answer_echo import EchoDesk
from imaging_common.events import EchoAnswered, EchoRequested
from imaging_common.messaging import FakePublisher
from imaging_common.testing.waiting import until

TOPIC = "edge-events-tcm"


class FakeEcho:
    """`PacsEcho` that takes 7 ms, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.asked = 0

    async def ask(self) -> int:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return 7


def request(seconds: float = 10) -> EchoRequested:
    return EchoRequested(echo_id="a" * 32, deadline=datetime.now(UTC) + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("echo", "reason"),
    [
        (FakeEcho(), ""),
        (FakeEcho(PacsUnreachable("silent")), "pacs-unreachable"),
        (FakeEcho(PacsRefused("0122")), "pacs-refused"),
        (FakeEcho(TimeoutError()), "deadline"),
        (None, "no-pacs"),
    ],
)
async def test_echo_is_answered_whatever_the_pacs_does(echo: FakeEcho | None, reason: str) -> None:
    publisher = FakePublisher()
    handler = build_echo_router("tcm", EchoDesk("tcm", echo, publisher)).find("EchoRequested", "edge-commands-tcm")
    assert handler is not None
    await handler(request(), None)  # type: ignore[arg-type]
    await until(lambda: bool(publisher.events(TOPIC)), what="the answer")
    (answer,) = publisher.events(TOPIC)
    assert isinstance(answer, EchoAnswered)
    assert (answer.echo_id, answer.reason) == ("a" * 32, reason)
    assert reason or answer.milliseconds == 7


async def test_echo_is_not_asked_when_nobody_waits_any_more() -> None:
    publisher, echo = FakePublisher(), FakeEcho()
    await EchoDesk("tcm", echo, publisher).answer(request(-1))
    assert (echo.asked, publisher.published) == (0, [])


async def test_echo_reaches_a_real_pacs(tmp_path: object) -> None:
    ae = AE("PACS")
    ae.add_supported_context(Verification)
    callers: list[str] = []

    def answer(event: evt.Event) -> int:
        callers.append(event.assoc.requestor.ae_title)
        return 0x0000

    server = ae.start_server(
        ("127.0.0.1", 0), block=False,
        evt_handlers=[(evt.EVT_C_ECHO, answer)],
    )  # fmt: skip
    try:
        settings = Settings(
            hospital="tcm", ae_title="TCM", spool_dir="/nowhere", ingest_url="http://x", pacs_ae_title="PACS",
            pacs_port=server.server_address[1], pacs_timeout_seconds=5,
        )  # fmt: skip
        assert await DimseEcho(settings, PacsSlots(1)).ask() >= 0
        assert callers == ["TCM"]
    finally:
        server.shutdown()
    with pytest.raises(PacsUnreachable):
        await DimseEcho(settings, PacsSlots(1)).ask()
