"""Webhooks over the real servers: in order and signed after the receiver was down, replayed, stopped with a notice."""

import asyncio
import ipaddress
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from imaging_common import mongo
from imaging_common.events import NoticeRaised, StudyChanged
from imaging_common.messaging.outbox_lease import RelayLease
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import send_raw
from imaging_native.asking import until
from imaging_native.ports import free_port
from imaging_native.region import Region
from imaging_native.session import portal_client
from imaging_native.tokens import person_token
from notification.feed.model import Organisation, Statement
from notification.feed.mongo_feed import MongoFeed
from notification.webhooks.addresses import Rules
from notification.webhooks.dispatch import Dispatcher
from notification.webhooks.model import Secret, Subscription, new_secret
from notification.webhooks.mongo_subscriptions import MongoSubscriptions
from notification.webhooks.sender import HttpSender

NOW = datetime(2026, 11, 28, 8, tzinfo=UTC)
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "ehr_subscriber.py"
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


class Receiver:
    """A vendor's server at a port of its own: can be away, and answers what it is told to."""

    def __init__(self) -> None:
        self.port = free_port()
        self.status = 204
        self.got: list[tuple[dict[str, str], bytes]] = []
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/imaging"

    def open(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if receiver.status < 300:
                    receiver.got.append(({name.lower(): text for name, text in self.headers.items()}, body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def about(self, uids: list[str]) -> list[dict[str, Any]]:
        """The events about these studies, as they came."""
        events = [json.loads(body) for _, body in self.got]
        return [one for one in events if one["data"].get("study_uid") in uids]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
async def operator(region: Region) -> AsyncIterator[httpx.AsyncClient]:
    token = await person_token(region.state, "operator.region", region.client_secret("portal"))
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=region.state["notification"], headers=headers, timeout=30) as client:
        yield client


def study(uid: str, n: int = 1) -> StudyChanged:
    return StudyChanged.model_validate(
        {
            "study_uid": uid, "holder": "community", "version": {"epoch": 1, "n": n}, "tier": "central",
            "announced": True, "settled": False, "stored": False, "series_count": 1, "instance_count": n,
            "announced_count": n, "stored_count": 0, "changed_at": NOW,
        }
    )  # fmt: skip


async def announce(region: Region, uids: list[str]) -> None:
    """The indexer says something of each study."""
    settings = ServiceSettings(
        kafka_bootstrap=region.kafka.bootstrap,
        kafka_username="indexer",
        kafka_password=SecretStr(region.kafka.passwords["indexer"]),
    )
    records = []
    for uid in uids:
        headers = {
            "ce_specversion": "1.0", "ce_id": uuid4().hex, "ce_type": "StudyChanged", "ce_source": "/imaging/test",
            "ce_time": NOW.isoformat(), "content-type": "application/json",
        }  # fmt: skip
        encoded = [(name, text.encode()) for name, text in headers.items()]
        records.append((uid.encode(), study(uid).model_dump_json().encode(), encoded))
    await send_raw(settings, "study-changed", records)


def some_studies(count: int) -> list[str]:
    mark = uuid4().int % 10**12
    return [f"2.25.{mark}.{n}" for n in range(count)]


async def subscribe(operator: httpx.AsyncClient, receiver: Receiver) -> dict[str, Any]:
    body = {"organisation": "residents", "url": receiver.url, "types": ["StudyChanged"], "description": "test"}
    made = await operator.post("/subscriptions", json=body)
    assert made.status_code == 201, made.text
    return dict(made.json())


async def test_everything_comes_in_order_and_signed_after_receiver_and_notification_were_down(
    region: Region, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    made = await subscribe(operator, receiver)
    path = f"/subscriptions/{made['id']}"
    uids = some_studies(60)
    await announce(region, uids)

    async def failing() -> Any:
        seen = (await operator.get(path)).json()
        return seen if seen["failures"] >= 3 else None

    seen = await until(failing, "failed attempts")
    assert seen["state"] == "active"
    assert seen["lag"] >= 1
    assert seen["waiting_since"]
    assert "secret" not in json.dumps(seen)
    receiver.open()
    await until(_async(lambda: receiver.about(uids)), "the first delivery")
    await region.kill("notification")
    await region.restart("notification")
    await until(_async(lambda: {e["data"]["study_uid"] for e in receiver.about(uids)} == set(uids)), "all deliveries")

    events = receiver.about(uids)
    numbers = [int(one["sequence"]) for one in events]
    assert numbers == sorted(numbers)
    once = list(dict.fromkeys((one["sequence"], one["id"]) for one in events))
    assert len(once) == len(uids)
    assert len(events) <= len(uids) + 1  # what was sent and not noted when it was killed
    for headers, body in receiver.got:
        assert Webhook(made["secret"]).verify(body, headers)
        assert headers["webhook-id"] == json.loads(body)["id"]
        assert headers["content-type"] == "application/cloudevents+json"

    # Again, from a number: the same events with the same ids.
    receiver.got.clear()
    begin = numbers[-3]
    assert (await operator.post(f"{path}/replay", json={"seq": begin})).json()["cursor"] == begin - 1
    await until(_async(lambda: len(receiver.about(uids)) >= 3), "the replay")
    assert [one["id"] for one in receiver.about(uids)][:3] == [one["id"] for one in events[-3:]]

    # A new secret signs beside the old one; both hold.
    receiver.got.clear()
    rotated = (await operator.post(f"{path}/rotate")).json()
    tested = (await operator.post(f"{path}/test")).json()
    assert tested["status"] == 204
    (ping,) = [(h, b) for h, b in receiver.got if json.loads(b)["type"] == "Ping"]
    for secret in (made["secret"], rotated["secret"]):
        assert Webhook(secret).verify(ping[1], ping[0])
    assert (await operator.delete(path)).status_code == 204
    assert (await operator.get(path)).status_code == 404


async def test_vendors_example_takes_what_a_webhook_brings_once(
    region: Region, operator: httpx.AsyncClient, receiver: Receiver, tmp_path: Path
) -> None:
    made = await subscribe(operator, receiver)
    uids = some_studies(3)
    await announce(region, uids)
    words = ["webhook", "--port", str(receiver.port), "--state", str(tmp_path / "last"), "--count", "3"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        *words,
        env={**os.environ, "EHR_WEBHOOK_SECRET": made["secret"]},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
        await operator.delete(f"/subscriptions/{made['id']}")
    assert [json.loads(line)["data"]["study_uid"] for line in told.decode().splitlines()] == uids


async def test_receiver_that_is_gone_is_sent_nothing_more_and_operators_are_told(
    region: Region, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    receiver.open()
    receiver.status = 410
    made = await subscribe(operator, receiver)
    uids = some_studies(3)
    await announce(region, uids)

    async def gone() -> bool:
        return bool((await operator.get(f"/subscriptions/{made['id']}")).json()["state"] == "gone")

    await until(gone, "the subscription to be gone")
    browser = await portal_client(region.state, "operator.region")

    async def told() -> bool:
        return made["number"] in (await browser.get("/portal/notices")).text

    await until(told, "the operators' notice")
    receiver.status = 204
    await operator.post(f"/subscriptions/{made['id']}/enable")
    await until(_async(lambda: len(receiver.about(uids)) == 3), "what waited")
    await operator.delete(f"/subscriptions/{made['id']}")
    await browser.aclose()


async def test_address_inside_of_the_region_and_unknown_kinds_are_refused(
    operator: httpx.AsyncClient, region: Region
) -> None:
    for url in ("http://10.0.0.8/x", "http://[::1]/x", "ftp://example.org/x", "http://u:p@127.0.0.1/x"):
        bad = {"organisation": "residents", "url": url}
        assert (await operator.post("/subscriptions", json=bad)).status_code == 422, url
    body: dict[str, Any] = {"organisation": "residents", "url": "http://127.0.0.1:9/x", "types": ["ConsultSubmitted"]}
    assert (await operator.post("/subscriptions", json=body)).status_code == 422
    doctor = await person_token(region.state, "doctor.community", region.client_secret("portal"))
    answer = await operator.get("/subscriptions", headers={"Authorization": f"Bearer {doctor}"})
    assert answer.status_code == 403


class Notices:
    """Keeps what was raised, once."""

    def __init__(self) -> None:
        self.raised: dict[str, NoticeRaised] = {}

    async def raise_once(self, notice: NoticeRaised) -> bool:
        return self.raised.setdefault(notice.notice_id, notice) is notice


async def test_receiver_that_fails_for_too_long_is_disabled_with_one_notice_and_goes_on_from_its_cursor(
    servers: Region, receiver: Receiver
) -> None:
    client = mongo.connect(ServiceSettings(mongo_url=servers.mongodb.url("root")))
    name = f"notification-{uuid4().hex[:8]}"
    feed = MongoFeed(client, name, timedelta(days=7))
    subscriptions = MongoSubscriptions(client[name], "seal")
    await feed.prepare()
    await subscriptions.prepare()
    await feed.ensure(Organisation(id="city", hospitals=frozenset({"community"})))
    for n in range(1, 6):
        await feed.take(Statement(study("1.1", n), f"e{n}", "1.1"))
    one = Subscription(
        id=uuid4().hex, organisation="city", url=receiver.url, secrets=[Secret(value=new_secret())], cursor=0,
        created_by="operator.region", created_at=NOW,
    )  # fmt: skip
    await subscriptions.add(one)
    assert one.secrets[0].value not in str(await client[name].subscriptions.find_one())
    receiver.open()
    receiver.status = 500
    notices = Notices()
    wake = feed.listen()
    sender = HttpSender(Rules(http=True, networks=(LOOPBACK,)), 5)
    copies = [
        Dispatcher(feed, subscriptions, sender, notices, RelayLease(client[name]["webhooks.lease"]), wake,
                   timedelta(seconds=1), chance=lambda: 0.0)
        for _ in range(2)
    ]  # fmt: skip
    for copy in copies:
        await copy.start()

    async def state() -> str:
        return (await subscriptions.get(one.id)).state

    async def stopped() -> bool:
        return await state() == "failing"

    await until(stopped, "the subscription to be disabled")
    (notice,) = notices.raised.values()
    assert (notice.recipient, notice.kind) == ("region:region-operator", "subscription-disabled")
    assert notice.link == f"/portal/subscriptions/{one.id}"
    receiver.status = 204
    present = await subscriptions.get(one.id)
    assert present.cursor == 0
    restarted = {"state": "active", "failures": 0, "failing_since": None, "next_attempt_at": None}
    await subscriptions.change(present, present.model_copy(update=restarted))
    await until(_async(lambda: len(receiver.about(["1.1"])) == 5), "the deliveries")
    assert [int(one["sequence"]) for one in receiver.about(["1.1"])] == [1, 2, 3, 4, 5]
    for copy in copies:
        await copy.stop()
    await sender.close()
    await client.drop_database(name)
    await client.close()


def _async(condition: Any) -> Any:
    async def ask() -> Any:
        await asyncio.sleep(0)
        return condition()

    return ask
