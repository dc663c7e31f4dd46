"""The store of deliveries on a real MongoDB: one plan and one delivery to one copy, once per person and channel."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from imaging_common.events import NoticeRaised
from imaging_common.messaging.outbox import Outbox
from imaging_native.region import Region
from notification.adapters.mongo_notices import MongoNoticeBook
from notification.deliveries.model import Chain, Delivery, Plan, Preferences, QuietHours, planned
from notification.deliveries.mongo_deliveries import LEASE, MongoDeliveries

NOW = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)


@pytest.fixture
async def stores(servers: Region) -> AsyncIterator[tuple[MongoNoticeBook, MongoDeliveries]]:
    """In a database of their own, dropped afterwards."""
    client = servers.client("root")
    name = f"notification_{uuid4().hex[:8]}"
    store = MongoDeliveries(client, name, keep_days=1)
    await store.prepare()
    yield MongoNoticeBook(client, name, Outbox(client[name])), store
    await client.drop_database(name)


def notice(notice_id: str = "n1", **more: Any) -> NoticeRaised:
    known = {
        "notice_id": notice_id, "recipient": "user:zhou", "kind": "consult-submitted", "number": "C-1",
        "link": "/portal/consults/c1", "raised_at": NOW, "urgency": "urgent",
    }  # fmt: skip
    return NoticeRaised.model_validate(known | more)


def deliveries(one: NoticeRaised) -> list[Delivery]:
    return planned(Plan(notice=one, cause="e1", at=NOW), "zhou", "secondary", Preferences(), Chain())


async def test_notice_and_plan_are_one_and_a_plan_is_one_copys(stores: tuple[MongoNoticeBook, MongoDeliveries]) -> None:
    book, store = stores
    raised = await asyncio.gather(*(book.raise_once(notice(), cause="e1", by="li") for _ in range(5)))
    assert sum(raised) == 1
    claimed = [one for one in await asyncio.gather(*(store.next_plan(NOW) for _ in range(5))) if one]
    assert [(one.notice, one.cause, one.by) for one in claimed] == [(notice(), "e1", "li")]
    again = await store.next_plan(NOW + LEASE)
    assert again is not None, "the copy that had it was killed"
    await store.planned(again, deliveries(notice()))
    assert await store.next_plan(NOW + 2 * LEASE) is None


async def test_two_notices_of_one_event_are_one_delivery_per_channel_and_one_look_ends_it(
    stores: tuple[MongoNoticeBook, MongoDeliveries],
) -> None:
    book, store = stores
    for name in ("n1", "n2"):
        await book.raise_once(notice(name), cause="e1")
    while plan := await store.next_plan(NOW):
        await store.planned(plan, deliveries(plan.notice))
    log = await store.log(state="", channel="", user="zhou", before=None, limit=10)
    assert {(one.channel, tuple(sorted(one.notice_ids))) for one in log} == {
        ("e-mail", ("n1", "n2")),
        ("sms", ("n1", "n2")),
    }
    await store.seen("n2", "li")
    assert not await store.has_seen(log[0])
    await store.seen("n2", "zhou")
    assert await store.has_seen(log[0])
    ended = await store.log(state="not-needed", channel="", user="", before=None, limit=10)
    assert {one.reason for one in ended} == {"seen"}
    assert len(ended) == 2


async def test_delivery_is_claimed_once_tried_again_and_ended_once(
    stores: tuple[MongoNoticeBook, MongoDeliveries],
) -> None:
    book, store = stores
    await book.raise_once(notice(), cause="e1")
    plan = await store.next_plan(NOW)
    assert plan is not None
    await store.planned(plan, deliveries(notice()))
    assert await store.next_delivery(NOW) is None
    due = NOW + timedelta(minutes=3)
    (mail,) = [one for one in await asyncio.gather(*(store.next_delivery(due) for _ in range(5))) if one]
    assert (mail.channel, mail.attempts) == ("e-mail", 1)
    await store.later(mail, due + timedelta(seconds=2), reason="smtp-451", counted=True)
    await store.later(mail, due + timedelta(seconds=2), reason="quiet-hours", counted=False)
    again = await store.next_delivery(due + timedelta(seconds=2))
    assert (again is not None, again and again.attempts) == (True, 1)
    await store.hasten(mail, "sms", due)
    sms = await store.next_delivery(due)
    assert sms is not None
    assert sms.channel == "sms"
    await store.ended(mail, "sent", due, to="z***@x.example")
    await store.ended(mail, "undeliverable", due)
    (kept,) = await store.log(state="sent", channel="e-mail", user="", before=None, limit=10)
    assert (kept.to, kept.ended_at) == ("z***@x.example", due)


async def test_preferences_come_back_as_they_were_chosen(stores: tuple[MongoNoticeBook, MongoDeliveries]) -> None:
    _, store = stores
    assert await store.of("zhou") == Preferences()
    chosen = Preferences.model_validate(
        {"channels": {"work": ["sms"]}, "language": "en", "quiet": {"start": "22:00", "end": "07:00"}}
    )
    await store.keep("zhou", chosen)
    assert await store.of("zhou") == chosen
    assert isinstance(chosen.quiet, QuietHours)


async def test_what_is_settled_is_not_sent_and_nothing_newer_is_settled(
    stores: tuple[MongoNoticeBook, MongoDeliveries],
) -> None:
    book, store = stores
    for name, hours in (("n1", 0), ("n2", 2)):
        await book.raise_once(notice(name), cause=name, at=NOW + timedelta(hours=hours))
    while plan := await store.next_plan(NOW):
        await store.planned(plan, planned(plan, "zhou", "secondary", Preferences(), Chain()))
    await book.raise_once(notice("n3"), cause="n3", at=NOW)
    await book.settle("/portal/consults/other", ["consult-"], NOW + timedelta(hours=3))
    await book.settle("/portal/consults/c1", ["limit-"], NOW + timedelta(hours=3))
    for _ in range(2):
        await book.settle("/portal/consults/c1", ["limit-", "consult-submitted"], NOW + timedelta(hours=1))
    waiting = await store.log(state="waiting", channel="", user="", before=None, limit=10)
    assert {tuple(one.notice_ids) for one in waiting} == {("n2",)}
    assert await store.next_plan(NOW) is None
