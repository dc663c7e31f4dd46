"""Notices on the real servers: by e-mail, by text message, and on the open pages of two gateways.

A region of its own, as the mail server and the notification service are killed; events come as `consult` sends them.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest
from pydantic import SecretStr

from imaging_common.events import EVENT_TYPES
from imaging_common.messaging import KafkaPublisher
from imaging_common.settings import ServiceSettings
from imaging_native.asking import DEADLINE_SECONDS, until
from imaging_native.region import Region
from imaging_native.session import portal_client
from imaging_native.tokens import person_token

DOCTOR, EXPERT, OPERATOR = "doctor.community", "expert.secondary", "operator.region"
DOCTOR_MAIL, EXPERT_MAIL = "doctor.community@region.example", "expert.secondary@region.example"
EXPERT_PHONE = "+8621550000201"
TOKEN_SECONDS = 120
"""So long one token is used; it lasts longer."""
PREFERENCES = "/notifications/preferences"


@dataclass
class Desk:
    """The region as these tests speak to it."""

    region: Region
    publisher: KafkaPublisher
    http: httpx.AsyncClient
    tokens: dict[str, str] = field(default_factory=dict)
    fetched: dict[str, float] = field(default_factory=dict)

    async def told(self, kind: str, **more: Any) -> str:
        """A new case's event, as the consult service publishes it; the case's number."""
        case = uuid4().hex
        known: dict[str, Any] = {
            "consult_id": case,
            "number": f"C-{case[:8]}",
            "version": {"epoch": 1, "n": 1},
            "state": "submitted",
            "applicant": DOCTOR,
            "applicant_hospital": "community",
            "consultant_hospital": "secondary",
            "studies": [],
            "at": datetime.now(UTC),
            "report_id": "r1",
            "report_version": 1,
        }
        topic = "report-changed" if kind.startswith("Report") else "consult-changed"
        await self.publisher.publish(topic, EVENT_TYPES[kind].model_validate(known | more), case)
        return str(known["number"])

    async def token(self, user: str) -> dict[str, str]:
        """Headers with somebody's own token."""
        if user not in self.tokens or time.monotonic() - self.fetched[user] > TOKEN_SECONDS:
            self.fetched[user] = time.monotonic()
            secret = self.region.client_secret("portal")
            self.tokens[user] = await person_token(self.region.state, user, secret)
        return {"Authorization": f"Bearer {self.tokens[user]}"}

    async def deliveries(self, number: str, user: str) -> dict[str, dict[str, Any]]:
        """What the log says of a case's messages to somebody, by channel."""
        address = f"{self.region.state['notification']}/notifications/deliveries"
        answer = await self.http.get(address, params={"user": user}, headers=await self.token(OPERATOR))
        answer.raise_for_status()
        return {one["channel"]: one for one in answer.json() if one["number"] == number}

    async def until_state(self, number: str, user: str, channel: str, state: str, reason: str = "") -> dict[str, Any]:
        """Wait until a message is that far."""

        async def there() -> dict[str, Any] | None:
            one = (await self.deliveries(number, user)).get(channel)
            return one if one and one["state"] == state and reason in one["reason"] else None

        found: dict[str, Any] = await until(there, f"{channel} of {number} to be {state} {reason}")
        return found

    async def mail(self, to: str, number: str) -> list[dict[str, Any]]:
        """The e-mails about a case that somebody has."""
        answer = await self.http.get(f"{self.region.state['mail']['http']}/messages", params={"to": to})
        return [one for one in answer.json()["messages"] if number in one["text"]]

    async def sms(self, to: str, number: str) -> list[dict[str, Any]]:
        """The text messages about a case that somebody has."""
        answer = await self.http.get(f"{self.region.state['mail']['http']}/sms", params={"to": to})
        return [one for one in answer.json()["messages"] if number in one["text"]]

    async def faults(self, **what: Any) -> None:
        """Have the mail server and SMS gateway misbehave; nothing ends it."""
        (await self.http.put(f"{self.region.state['mail']['http']}/faults", json=what)).raise_for_status()

    @asynccontextmanager
    async def preferring(self, user: str, **chosen: Any) -> AsyncIterator[None]:
        """Somebody's preferences for a while."""
        address, headers = f"{self.region.state['notification']}{PREFERENCES}", await self.token(user)
        before = (await self.http.get(address, headers=headers)).json()
        (await self.http.put(address, json={**before, **chosen}, headers=headers)).raise_for_status()
        yield
        (await self.http.put(address, json=before, headers=headers)).raise_for_status()


@pytest.fixture(scope="module")
async def desk() -> AsyncIterator[Desk]:
    """Two gateways and the notification service over the real servers."""
    async with (
        Region(services=["gateway", "notification"], gateways=2) as region,
        httpx.AsyncClient(timeout=20) as http,
    ):
        kafka = region.state["kafka"]
        password = SecretStr(kafka["users"]["consult"])
        settings = ServiceSettings(
            kafka_bootstrap=kafka["bootstrap"], kafka_username="consult", kafka_password=password
        )
        publisher = KafkaPublisher("consult", settings)
        yield Desk(region, publisher, http)
        await publisher.stop()


async def test_mail_arrives_with_a_stable_id_when_the_server_was_away_and_when_it_breaks_off(desk: Desk) -> None:
    await desk.region.kill("mailbox")
    number = await desk.told("ConsultSubmitted", urgency="urgent")
    waiting = await desk.until_state(number, EXPERT, "e-mail", "waiting", "no-answer")
    await desk.region.restart("mailbox")
    await desk.faults(drop_after_data=True, to=EXPERT_MAIL, times=1)
    sent = await desk.until_state(number, EXPERT, "e-mail", "sent")
    assert sent["attempts"] >= 2
    assert sent["to"] == "e***@region.example"
    messages = await desk.mail(EXPERT_MAIL, number)
    assert len(messages) >= 1
    assert {one["headers"]["Message-ID"] for one in messages} == {f"<{waiting['id']}@region.example>"}
    (first, *_) = messages
    assert f"{desk.region.portal}/portal/consults/" in first["text"]
    assert f"{desk.region.portal}/portal/consults/" in first["html"]
    assert "收到新的会诊申请" in first["headers"]["Subject"]


async def test_text_message_has_its_turn_at_once_when_the_mailbox_does_not_exist(desk: Desk) -> None:
    await desk.faults(refuse=550, to=EXPERT_MAIL)
    number = await desk.told("ConsultAssigned", expert=EXPERT, by="coordinator.secondary", urgency="urgent")
    await desk.until_state(number, EXPERT, "e-mail", "undeliverable", "smtp-550")
    await desk.until_state(number, EXPERT, "sms", "sent")
    await desk.faults()
    (message,) = await desk.sms(EXPERT_PHONE, number)
    assert desk.region.portal in message["text"]


async def test_text_message_follows_an_unread_mail_and_is_sent_once_when_the_gateway_is_busy(desk: Desk) -> None:
    await desk.faults(sms_status=503, to=EXPERT_PHONE, times=2)
    number = await desk.told("ConsultAssigned", expert=EXPERT, by="coordinator.secondary", urgency="urgent")
    await desk.until_state(number, EXPERT, "e-mail", "sent")
    sent = await desk.until_state(number, EXPERT, "sms", "sent")
    assert sent["attempts"] == 3
    assert len(await desk.sms(EXPERT_PHONE, number)) == 1


async def test_nothing_is_sent_of_what_was_read_in_the_portal(desk: Desk) -> None:
    doctor = await portal_client(desk.region.state, DOCTOR)
    await doctor.get("/portal/notices")
    number = await desk.told("ConsultAccepted")

    async def shown() -> str:
        page = (await doctor.get("/portal/notices")).text
        return page if number in page else ""

    page = await until(shown, "the notice in the portal")
    assert 'data-count="0"' not in page
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    await doctor.post("/portal/notices/seen", data={"csrf": csrf})
    await desk.until_state(number, DOCTOR, "e-mail", "not-needed", "seen")
    assert await desk.mail(DOCTOR_MAIL, number) == []
    assert 'data-count="0"' in (await doctor.get("/portal/notices/count")).text
    await doctor.aclose()


async def test_quiet_hours_hold_everything_but_emergencies_and_language_is_the_persons(desk: Desk) -> None:
    now = datetime.now(ZoneInfo("Asia/Shanghai"))
    hours = [f"{now + timedelta(hours=hour):%H:%M}" for hour in (-1, 2)]
    async with desk.preferring(DOCTOR, quiet={"start": hours[0], "end": hours[1]}, language="en"):
        quiet = await desk.told("ConsultRejected")
        loud = await desk.told("ReportIssued", critical=True, expert=EXPERT)
        await desk.until_state(loud, DOCTOR, "e-mail", "sent")
        await desk.until_state(loud, DOCTOR, "sms", "sent")
        held = await desk.until_state(quiet, DOCTOR, "e-mail", "waiting", "quiet-hours")
        ends = datetime.fromisoformat(held["next_attempt_at"])
        assert ends > datetime.now(UTC) + timedelta(hours=1)
        (message,) = await desk.mail(DOCTOR_MAIL, loud)
        assert "Critical value" in message["headers"]["Subject"]
    assert await desk.mail(DOCTOR_MAIL, quiet) == []


async def test_killed_service_tells_what_it_took_when_it_is_back(desk: Desk) -> None:
    numbers = [await desk.told("ConsultReturned", urgency="emergency") for _ in range(10)]
    await desk.until_state(numbers[0], DOCTOR, "e-mail", "sent")
    await desk.region.kill("notification")
    await desk.region.restart("notification")
    for number in numbers:
        sent = await desk.until_state(number, DOCTOR, "e-mail", "sent")
        ids = [one["headers"]["Message-ID"] for one in await desk.mail(DOCTOR_MAIL, number)]
        assert set(ids) == {f"<{sent['id']}@region.example>"}


async def test_stream_goes_on_at_the_other_gateway_after_the_last_notice_and_ends_with_the_sign_in(desk: Desk) -> None:
    state = desk.region.state
    doctor = await portal_client(state, DOCTOR)
    other = httpx.AsyncClient(base_url=state["gateways"][1], cookies=doctor.cookies, timeout=30)
    async with doctor.stream("GET", "/portal/events") as stream:
        first = await desk.told("ConsultAccepted")
        last = await one_notice(stream, first)
    missed = await desk.told("ConsultRejected")
    await until(lambda: listed(other, missed), "the second notice at the other gateway")
    async with other.stream("GET", "/portal/events", headers={"Last-Event-ID": last}) as stream:
        assert await one_notice(stream, missed)
    counts = [(await one.get("/portal/notices/count")).text for one in (doctor, other)]
    assert counts[0] == counts[1]
    async with other.stream("GET", "/portal/events") as stream:
        page = (await doctor.get("/portal/notices")).text
        csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
        await doctor.post("/auth/logout", data={"csrf": csrf})
        assert "event: ended" in [line async for line in stream.aiter_lines()]
    await doctor.aclose()
    await other.aclose()


async def listed(client: httpx.AsyncClient, number: str) -> bool:
    """Whether the list shows a case."""
    return number in (await client.get("/portal/notices")).text


async def one_notice(stream: httpx.Response, number: str) -> str:
    """Read until the notice about a case; its id."""
    last = ""
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for line in stream.aiter_lines():
            if line.startswith("id: "):
                last = line[4:]
            elif line.startswith("data: {") and json.loads(line[6:])["number"] == number:
                return last
    raise AssertionError(f"the stream ended without {number}")
