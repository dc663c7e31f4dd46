"""Deliveries over fakes: in order, stopped with one notice; the routes of operators, and of an EHR's own feed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.events import AuditRecorded, NoticeRaised
from imaging_common.http import create_app
from imaging_common.messaging import FakePublisher
from imaging_common.testing.metrics import Counted
from imaging_common.testing.waiting import until
from notification.feed.api import build_feed_api
from notification.feed.model import FeedEntry, FeedState, Organisation, Snapshot
from notification.settings import NotificationSettings
from notification.webhooks.api import build_webhooks_api, install_webhook_problems
from notification.webhooks.dispatch import Dispatcher
from notification.webhooks.errors import BadAddress, NoSubscription, SubscriptionChanged
from notification.webhooks.model import Attempt, Secret, State, Subscription, new_secret
from notification.webhooks.sender import Outcome
from notification.webhooks.usecases import Desk

NOW = datetime(2026, 11, 28, 8, tzinfo=UTC)
TAKEN, BROKEN, GONE = Outcome(204, "", 1), Outcome(500, "", 1, 0.0), Outcome(410, "", 1)
PEOPLE = {
    "operator": Claims("operator.region", "", frozenset({"region-operator"})),
    "doctor": Claims("doctor.community", "community", frozenset({"doctor"})),
    "ehr": Claims("ehr-city", "", frozenset({"ehr"})),
}


def entry(seq: int, kind: str = "StudyChanged") -> FeedEntry:
    return FeedEntry("city", seq, NOW + timedelta(minutes=seq), f"e{seq}", kind, "1.2", '{"study_uid": "1.2"}')


class Feed:
    """`FeedStore`, as far as webhooks read it."""

    def __init__(self, *entries: FeedEntry) -> None:
        self.all = list(entries)

    async def entries(self, organisation: str, after: int, limit: int) -> list[FeedEntry]:
        return [one for one in self.all if one.seq > after][:limit]

    async def state(self, organisation: str) -> FeedState:
        return FeedState(self.all[-1].seq, self.all[0].seq, self.all[-1].seq)

    async def seq_at(self, organisation: str, since: datetime) -> int:
        return next((one.seq - 1 for one in self.all if one.at >= since), self.all[-1].seq)

    async def organisations(self) -> list[Organisation]:
        return [Organisation(id="city", hospitals=frozenset({"community"}))]

    async def snapshots(self, organisation: str) -> list[Snapshot]:
        return []


class Subscriptions:
    """`SubscriptionStore` in memory."""

    def __init__(self, *some: Subscription) -> None:
        self.kept = {one.id: one for one in some}
        self.log: list[Attempt] = []

    async def add(self, subscription: Subscription) -> None:
        self.kept[subscription.id] = subscription

    async def all(self) -> list[Subscription]:
        return list(self.kept.values())

    async def get(self, subscription_id: str) -> Subscription:
        if subscription_id not in self.kept:
            raise NoSubscription(subscription_id)
        return self.kept[subscription_id]

    async def change(self, before: Subscription, after: Subscription) -> Subscription:
        if (await self.get(before.id)).revision != before.revision:
            raise SubscriptionChanged(before.id)
        self.kept[before.id] = after.model_copy(update={"revision": before.revision + 1})
        return self.kept[before.id]

    async def remove(self, subscription_id: str) -> None:
        del self.kept[subscription_id]

    async def due(self, now: datetime) -> list[Subscription]:
        waiting = [one for one in self.kept.values() if one.state == "active"]
        return [one for one in waiting if one.next_attempt_at is None or one.next_attempt_at <= now]

    async def passed(self, subscription: Subscription, seq: int) -> bool:
        self._set(subscription.id, cursor=seq)
        return True

    async def noted(
        self, subscription: Subscription, attempt: Attempt, state: State, next_attempt_at: datetime | None
    ) -> bool:
        self.log.append(attempt)
        failed = {"failures": subscription.failures + 1, "failing_since": subscription.failing_since or attempt.at}
        change = {"cursor": attempt.seq, "failures": 0, "failing_since": None} if attempt.ok else failed
        self._set(subscription.id, state=state, next_attempt_at=next_attempt_at, **change)
        return True

    async def attempts(self, subscription_id: str, limit: int) -> Sequence[Attempt]:
        return self.log[-limit:]

    def _set(self, subscription_id: str, **values: Any) -> None:
        self.kept[subscription_id] = self.kept[subscription_id].model_copy(update=values)


class Sender:
    """Answers as it is told, the last answer for ever."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes) or [TAKEN]
        self.sent: list[int] = []
        self.documents: list[dict[str, Any]] = []

    async def send(self, url: str, document: Mapping[str, Any], secrets: Sequence[str]) -> Outcome:
        self.documents.append(dict(document))
        self.sent.append(int(document.get("sequence", "0")))
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


class Notices:
    def __init__(self) -> None:
        self.raised: dict[str, NoticeRaised] = {}

    async def raise_once(self, notice: NoticeRaised) -> bool:
        return self.raised.setdefault(notice.notice_id, notice) is notice


class Lease:
    """Always ours."""

    held = True

    async def take(self) -> bool:
        return True

    async def give_back(self) -> None:
        """Nothing."""


def subscription(**more: Any) -> Subscription:
    base = {"id": "s" * 32, "organisation": "city", "url": "https://ehr.example/x", "cursor": 0}
    secrets = [Secret(value=new_secret())]
    return Subscription.model_validate({**base, "created_by": "o", "created_at": NOW, "secrets": secrets, **more})


@asynccontextmanager
async def delivering(
    feed: Feed, store: Subscriptions, sender: Sender, notices: Notices, patience: timedelta = timedelta(hours=24)
) -> AsyncIterator[Callable[[], None]]:
    wake = asyncio.Event()
    lease: Any = Lease()
    dispatcher = Dispatcher(feed, store, sender, notices, lease, wake, patience, chance=lambda: -1.0)  # type: ignore[arg-type]
    await dispatcher.start()
    try:
        yield wake.set
    finally:
        await dispatcher.stop()


async def test_event_that_is_not_taken_is_tried_again_before_any_later_one() -> None:
    store, sender = Subscriptions(subscription()), Sender(TAKEN, BROKEN, BROKEN, TAKEN)
    failed = Counted("imaging_webhook_attempts_total", organisation="city", outcome="failed")
    async with delivering(Feed(entry(1), entry(2), entry(3)), store, sender, Notices()) as wake:

        def done() -> bool:
            wake()
            return store.kept["s" * 32].cursor == 3

        await until(done, 10)
    assert sender.sent == [1, 2, 2, 2, 3]
    assert [attempt.ok for attempt in store.log] == [True, False, False, True, True]
    assert failed.grown == 2


async def test_kinds_that_were_not_chosen_are_passed_over() -> None:
    store, sender = Subscriptions(subscription(types=["ReportIssued"])), Sender()
    feed = Feed(entry(1), entry(2, "ReportIssued"), entry(3))
    async with delivering(feed, store, sender, Notices()):
        await until(lambda: store.kept["s" * 32].cursor == 3, 10)
    assert sender.sent == [2]


@pytest.mark.parametrize(
    ("outcome", "patience", "state"), [(GONE, timedelta(hours=24), "gone"), (BROKEN, timedelta(0), "failing")]
)
async def test_stopped_subscription_is_sent_nothing_more_and_raises_one_notice(
    outcome: Outcome, patience: timedelta, state: str
) -> None:
    store, sender, notices = Subscriptions(subscription()), Sender(outcome), Notices()
    stopped = Counted("imaging_webhook_stopped_total", organisation="city")
    async with delivering(Feed(entry(1)), store, sender, notices, patience) as wake:
        await until(lambda: store.kept["s" * 32].state == state, 10)
        wake()
    assert (sender.sent, store.kept["s" * 32].cursor) == ([1], 0)
    assert [one.kind for one in notices.raised.values()] == ["subscription-disabled"]
    assert stopped.grown == 1


class Verifier(TokenVerifier):
    def __init__(self) -> None:
        super().__init__("https://id.example", "imaging-cloud")

    async def verify(self, token: str) -> Claims:
        if token not in PEOPLE:
            raise InvalidToken("no")
        return PEOPLE[token]


class Office:
    """The routes over fakes."""

    def __init__(self) -> None:
        self.store, self.sender, self.told = Subscriptions(), Sender(), FakePublisher()
        feed: Any = Feed(*(entry(n) for n in range(3, 9)))

        async def check(url: str) -> None:
            if "10.0.0" in url:
                raise BadAddress("the host is inside of the region")

        trail = AuditTrail("notification", self.told)
        desk = Desk(feed, self.store, self.sender, trail, check, timedelta(hours=24), lambda: None)
        app = create_app("notification", NotificationSettings(), lifespan=None, checks={})  # type: ignore[arg-type]
        app.include_router(build_webhooks_api(desk, Verifier()))
        app.include_router(build_feed_api(feed, Verifier()))
        install_webhook_problems(app)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://n")

    async def ask(self, method: str, path: str, who: str = "operator", **options: Any) -> httpx.Response:
        return await self.client.request(method, path, headers={"Authorization": f"Bearer {who}"}, **options)

    @property
    def audited(self) -> list[str]:
        records = [event for _, event, _ in self.told.published if isinstance(event, AuditRecorded)]
        return [one.purpose.split()[0] for one in records if one.action == "subscribe" and one.purpose]


async def test_operator_makes_rotates_replays_and_removes_and_each_act_is_on_record() -> None:
    office = Office()
    made = await office.ask("POST", "/subscriptions", json={"organisation": "city", "url": "https://ehr.example/x"})
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    assert made.json()["cursor"] == 8
    path = f"/subscriptions/{made.json()['id']}"
    seen = (await office.ask("GET", path)).text
    assert made.json()["secret"] not in seen
    rotated = (await office.ask("POST", f"{path}/rotate")).json()["secret"]
    assert rotated != made.json()["secret"]
    for asked, cursor in (({"seq": 5}, 4), ({"seq": 1}, 2), ({"seq": 99}, 8)):
        assert (await office.ask("POST", f"{path}/replay", json=asked)).json() == {"cursor": cursor}
    since = (NOW + timedelta(minutes=6)).isoformat()
    assert (await office.ask("POST", f"{path}/replay", json={"since": since})).json() == {"cursor": 5}
    assert (await office.ask("POST", f"{path}/replay", json={})).status_code == 422
    shown = (await office.ask("GET", path)).json()
    assert (shown["lag"], shown["waiting_since"]) == (3, entry(6).at.isoformat())
    assert (await office.ask("POST", f"{path}/disable")).json()["state"] == "disabled"
    assert (await office.ask("POST", f"{path}/enable")).json()["state"] == "active"
    assert (await office.ask("POST", f"{path}/test")).json()["status"] == 204
    assert office.sender.documents[-1]["type"] == "Ping"
    stale = {"revision": 1, "url": "https://other.example/x"}
    assert (await office.ask("PUT", path, json=stale)).status_code == 409
    assert (await office.ask("DELETE", path)).status_code == 204
    assert (await office.ask("GET", path)).status_code == 404
    replays = ["replay"] * 4
    assert office.audited == ["add", "rotate", *replays, "disable", "enable", "test", "remove"]


async def test_bad_wishes_and_others_than_operators_are_refused() -> None:
    office = Office()
    for body, status in (
        ({"organisation": "city", "url": "https://10.0.0.1/"}, 422),
        ({"organisation": "other", "url": "https://ehr.example/"}, 404),
        ({"organisation": "city", "url": "https://ehr.example/", "types": ["ConsultSubmitted"]}, 422),
    ):
        assert (await office.ask("POST", "/subscriptions", json=body)).status_code == status, body
    for path in ("/subscriptions", "/organisations"):
        assert (await office.ask("GET", path)).status_code == 200
        assert (await office.ask("GET", path, "doctor")).status_code == 403
        assert (await office.ask("GET", path, "nobody")).status_code == 401


async def test_ehr_pulls_its_own_feed_and_is_told_what_is_no_longer_kept() -> None:
    office = Office()
    page = (await office.ask("GET", "/feeds/city/events", "ehr", params={"after": 3, "limit": 2})).json()
    assert [int(one["sequence"]) for one in page["events"]] == [4, 5]
    assert (page["next"], page["oldest"], page["newest"]) == (5, 3, 8)
    assert (await office.ask("GET", "/feeds/city/events", "ehr", params={"after": 8})).json()["next"] == 8
    begin = (await office.ask("GET", "/feeds/city/events", "ehr", params={"after": 0})).json()
    assert int(begin["events"][0]["sequence"]) == 3
    gone = await office.ask("GET", "/feeds/city/events", "ehr", params={"after": 1})
    assert (gone.status_code, gone.json()["oldest"]) == (410, 3)
    for params, status in (({}, 422), ({"after": 9}, 422), ({"after": 1, "since": NOW.isoformat()}, 422)):
        assert (await office.ask("GET", "/feeds/city/events", "ehr", params=params)).status_code == status
    for who, path in (("ehr", "/feeds/county/events"), ("doctor", "/feeds/city/events")):
        assert (await office.ask("GET", path, who, params={"after": 3})).status_code == 403
