"""E-mail over a real SMTP server: what arrives, and how its answers are understood."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from imaging_native.mailbox import MailboxSettings, build_app
from imaging_native.ports import free_port
from notification.deliveries.model import Delivery
from notification.deliveries.settings import DeliverySettings
from notification.deliveries.smtp import SmtpSender

AT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
ADDRESS = "zhou@x.example"
DELIVERY = Delivery(
    id="d" * 32, notice_ids=["n"], user="zhou", channel="e-mail", kind="critical-value", number="C-1",
    link="/portal/consults/c1", urgency="emergency", raised_at=AT, at=AT, next_attempt_at=AT,
)  # fmt: skip


class Server:
    """A mail server, and a sender that is set to it."""

    def __init__(self, http: httpx.AsyncClient, port: int) -> None:
        self.http = http
        known = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_tls": "none", "smtp_timeout_seconds": 5}
        self.sender = SmtpSender(DeliverySettings.model_validate({**known, "portal_url": "https://portal.example/"}))

    async def faults(self, **what: Any) -> None:
        (await self.http.put("/faults", json=what)).raise_for_status()

    async def messages(self) -> list[dict[str, Any]]:
        return list((await self.http.get("/messages")).json()["messages"])


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    port = free_port()
    app = build_app(MailboxSettings(smtp_port=port, http_port=0, folder=tmp_path))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://mailbox") as http,
    ):
        yield Server(http, port)


@pytest.mark.parametrize(("language", "word"), [("zh", "危急值"), ("en", "Critical value")])
async def test_mail_arrives_in_the_persons_language_as_text_and_html(server: Server, language: str, word: str) -> None:
    assert (await server.sender.send(DELIVERY, ADDRESS, language)).result == "sent"
    (message,) = await server.messages()
    assert message["to"] == [ADDRESS]
    assert word in message["headers"]["Subject"]
    assert message["headers"]["Message-ID"] == f"<{'d' * 32}@region.example>"
    assert message["headers"]["Auto-Submitted"] == "auto-generated"
    for body in (message["text"], message["html"]):
        assert word in body
        assert "https://portal.example/portal/consults/c1" in body


@pytest.mark.parametrize(
    ("fault", "result", "reason"),
    [({"refuse": 550}, "refused", "smtp-550"), ({"refuse": 451}, "again", "smtp-451")],
)
async def test_refusal_is_for_good_or_for_now(server: Server, fault: dict[str, int], result: str, reason: str) -> None:
    await server.faults(**fault)
    outcome = await server.sender.send(DELIVERY, ADDRESS, "zh")
    assert (outcome.result, outcome.reason) == (result, reason)
    assert await server.messages() == []


async def test_connection_that_breaks_after_data_is_tried_again_and_seen_by_its_id(server: Server) -> None:
    await server.faults(drop_after_data=True, times=1)
    assert (await server.sender.send(DELIVERY, ADDRESS, "zh")).result == "again"
    assert (await server.sender.send(DELIVERY, ADDRESS, "zh")).result == "sent"
    messages = await server.messages()
    assert len(messages) == 2
    assert len({message["headers"]["Message-ID"] for message in messages}) == 1


async def test_server_that_is_not_there_is_asked_again() -> None:
    settings = {"smtp_host": "127.0.0.1", "smtp_port": free_port(), "smtp_tls": "none", "smtp_timeout_seconds": 5}
    sender = SmtpSender(DeliverySettings.model_validate(settings))
    outcome = await sender.send(DELIVERY, ADDRESS, "zh")
    assert outcome.result == "again"
    assert outcome.reason.startswith("no-answer")


async def test_address_with_a_line_break_is_refused_and_adds_no_header(server: Server) -> None:
    outcome = await server.sender.send(DELIVERY, "a@b.example\r\nBcc: x@y.example", "zh")
    assert (outcome.result, outcome.reason) == ("refused", "bad-address")
    assert await server.messages() == []
