"""Whom a notice reaches outside the portal: on which channel, when, in whose language, how often."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from pydantic import ValidationError

from imaging_common.events import NoticeRaised
from imaging_common.people import DirectoryUnavailable, FakeDirectory, Person
from imaging_common.testing.metrics import Counted
from notification.deliveries.dispatch import Courier
from notification.deliveries.model import (
    Chain,
    Channel,
    Delivery,
    Outcome,
    Plan,
    Preferences,
    QuietHours,
    State,
    delivery_id,
    masked,
    planned,
    quiet_until,
    retry_delay,
)
from notification.deliveries.settings import DeliverySettings
from notification.deliveries.sms import HttpSmsSender
from notification.deliveries.texts import mail, text_message

START = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
ZHOU = Person("zhou", "周敏", "secondary", frozenset({"expert"}), email="zhou@x.example", phone="+8621550000201")
LI = Person("li", "李国强", "secondary", frozenset({"expert"}), email="li@x.example", language="en")


def notice(recipient: str = "user:zhou", **more: Any) -> NoticeRaised:
    known = {
        "notice_id": f"n-{recipient}", "recipient": recipient, "kind": "consult-submitted", "number": "C-1",
        "link": "/portal/consults/c1", "raised_at": START, "urgency": "urgent",
    }  # fmt: skip
    return NoticeRaised.model_validate(known | more)


def delivery(**more: Any) -> Delivery:
    return planned(Plan(notice=notice(**more), cause="e1", at=START), "zhou", "secondary", Preferences(), Chain())[0]


class FakeStore:
    """`DeliveryStore` and `PreferenceStore` in memory."""

    def __init__(self) -> None:
        self.plans: dict[str, tuple[datetime, Plan]] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.seen: set[tuple[str, str]] = set()
        self.chosen: dict[str, Preferences] = {}

    def raised(self, one: NoticeRaised, cause: str = "e1", by: str = "") -> None:
        self.plans[one.notice_id] = (one.raised_at, Plan(notice=one, cause=cause, by=by, at=START))

    async def next_plan(self, now: datetime) -> Plan | None:
        return next((plan for due, plan in self.plans.values() if due <= now), None)

    async def planned(self, plan: Plan, deliveries: Sequence[Delivery]) -> None:
        for one in deliveries:
            kept = self.deliveries.setdefault(one.id, one)
            kept.notice_ids = list(dict.fromkeys([*kept.notice_ids, *one.notice_ids]))
        del self.plans[plan.notice.notice_id]

    async def plan_later(self, plan: Plan, at: datetime) -> None:
        self.plans[plan.notice.notice_id] = (at, plan)

    async def next_delivery(self, now: datetime) -> Delivery | None:
        due = [one for one in self.deliveries.values() if one.state == "waiting" and one.next_attempt_at <= now]
        if not due:
            return None
        due[0].attempts += 1
        return due[0]

    async def has_seen(self, one: Delivery) -> bool:
        return any((notice_id, one.user) in self.seen for notice_id in one.notice_ids)

    async def ended(self, one: Delivery, state: State, now: datetime, *, reason: str = "", to: str = "") -> None:
        one.state, one.reason, one.to, one.ended_at = state, reason, to, now

    async def later(self, one: Delivery, at: datetime, *, reason: str, counted: bool) -> None:
        one.next_attempt_at, one.reason = at, reason
        one.attempts -= not counted

    async def hasten(self, one: Delivery, channel: Channel, at: datetime) -> None:
        for other in self.deliveries.values():
            if other.user == one.user and other.channel == channel:
                other.next_attempt_at = min(other.next_attempt_at, at)

    async def log(self, **_: Any) -> Sequence[Delivery]:
        return list(self.deliveries.values())

    async def of(self, user: str) -> Preferences:
        return self.chosen.get(user, Preferences())

    async def keep(self, user: str, preferences: Preferences) -> None:
        self.chosen[user] = preferences


class FakeSender:
    """A channel that answers as told."""

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute
        self.answers: list[Outcome] = []
        self.sent: list[tuple[str, str, str]] = []

    def address(self, person: Person) -> str:
        return str(getattr(person, self.attribute))

    async def send(self, one: Delivery, address: str, language: str) -> Outcome:
        outcome = self.answers.pop(0) if self.answers else Outcome(result="sent")
        if outcome.result == "sent":
            self.sent.append((one.id, address, language))
        return outcome


class Post:
    """A courier with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = START
        self.store, self.directory = FakeStore(), FakeDirectory(ZHOU, LI)
        self.mail, self.sms = FakeSender("email"), FakeSender("phone")
        self.courier = Courier(
            self.store,
            self.store,
            self.directory,
            {"e-mail": self.mail, "sms": self.sms},
            Chain(),
            ZONE,
            timedelta(hours=24),
            now=lambda: self.now,
            chance=lambda: 1.0,
        )

    async def runs(self, seconds: float = 0) -> None:
        """Time passes, and everything that is due is done."""
        self.now += timedelta(seconds=seconds)
        while await self.courier.plan_one() or await self.courier.send_one():
            pass

    @property
    def states(self) -> dict[tuple[str, str], str]:
        return {(one.user, one.channel): one.state for one in self.store.deliveries.values()}


@pytest.fixture
def post() -> Post:
    return Post()


async def test_portal_comes_first_then_mail_then_a_text_message(post: Post) -> None:
    post.store.raised(notice())
    await post.runs(179)
    assert (post.mail.sent, post.sms.sent) == ([], [])
    await post.runs(1)
    assert post.mail.sent == [(delivery_id("e1", "zhou", "e-mail"), "zhou@x.example", "zh")]
    await post.runs(1620)
    assert [address for _, address, _ in post.sms.sent] == [ZHOU.phone]
    assert set(post.states.values()) == {"sent"}
    assert {one.to for one in post.store.deliveries.values()} == {"z***@x.example", "***201"}


async def test_nothing_is_sent_once_the_notice_was_seen(post: Post) -> None:
    post.store.raised(notice())
    await post.runs()
    post.store.seen.add(("n-user:zhou", "zhou"))
    await post.runs(10_000)
    assert (post.mail.sent, post.sms.sent) == ([], [])
    assert set(post.states.values()) == {"not-needed"}


async def test_critical_value_comes_on_all_channels_at_once_whatever_was_chosen(post: Post) -> None:
    quiet = QuietHours(start=time(0), end=time(23, 59))
    post.store.chosen["zhou"] = Preferences(channels={"progress": [], "reports": []}, quiet=quiet)
    post.store.raised(notice(kind="critical-value", urgency="emergency"))
    await post.runs()
    assert (len(post.mail.sent), len(post.sms.sent)) == (1, 1)


async def test_group_is_everybody_but_who_did_it_each_in_their_language(post: Post) -> None:
    post.store.raised(notice("hospital:secondary:expert"), by="zhou")
    await post.runs(180)
    assert post.mail.sent == [(delivery_id("e1", "li", "e-mail"), "li@x.example", "en")]


async def test_person_in_two_notices_of_one_event_is_written_to_once_and_one_look_is_enough(post: Post) -> None:
    post.store.raised(notice("hospital:secondary:expert"))
    post.store.raised(notice())
    await post.runs(180)
    assert sorted(address for _, address, _ in post.mail.sent) == ["li@x.example", "zhou@x.example"]
    post.store.seen.add(("n-hospital:secondary:expert", "zhou"))
    await post.runs(2000)
    assert post.states["zhou", "sms"] == "not-needed"


async def test_mail_server_that_is_away_is_asked_again_with_the_same_id(post: Post) -> None:
    post.store.raised(notice())
    post.mail.answers = [Outcome(result="again", reason="no-answer")] * 3
    await post.runs(180)
    assert post.states["zhou", "e-mail"] == "waiting"
    again, went = (Counted("imaging_deliveries_total", channel="e-mail", outcome=how) for how in ("again", "sent"))
    for wait in (2, 4, 8):
        await post.runs(wait)
    assert (again.grown, went.grown) == (2, 1)
    (sent,) = post.mail.sent
    kept = post.store.deliveries[sent[0]]
    assert (kept.state, kept.attempts) == ("sent", 4)


async def test_what_cannot_be_delivered_is_told_in_the_log_and_the_next_channel_has_its_turn(post: Post) -> None:
    post.store.raised(notice())
    post.mail.answers = [Outcome(result="refused", reason="smtp-550")]
    given_up = Counted("imaging_deliveries_total", channel="e-mail", outcome="undeliverable")
    sent = Counted("imaging_delivery_seconds_count", channel="sms")
    await post.runs(180)
    assert (given_up.grown, sent.grown) == (1, 1)
    assert post.states == {("zhou", "e-mail"): "undeliverable", ("zhou", "sms"): "sent"}


async def test_server_that_stays_away_for_a_day_is_given_up(post: Post) -> None:
    post.store.raised(notice(kind="report-issued"))
    post.mail.answers = [Outcome(result="again", reason="no-answer")] * 1000
    await post.runs(180)
    for _ in range(300):
        await post.runs(300)
    assert post.states == {("zhou", "e-mail"): "undeliverable"}


async def test_person_without_a_telephone_is_undeliverable_there(post: Post) -> None:
    post.store.raised(notice("user:li"))
    await post.runs(1800)
    assert post.states == {("li", "e-mail"): "sent", ("li", "sms"): "undeliverable"}


async def test_quiet_hours_hold_a_message_until_morning_and_do_not_count_as_an_attempt(post: Post) -> None:
    post.store.chosen["zhou"] = Preferences(quiet=QuietHours(start=time(12), end=time(13)))  # it is noon in Shanghai
    post.store.raised(notice(kind="report-issued"))
    await post.runs(200)
    assert (post.mail.sent, next(iter(post.store.deliveries.values())).reason) == ([], "quiet-hours")
    await post.runs(3600)
    assert len(post.mail.sent) == 1
    assert next(iter(post.store.deliveries.values())).attempts == 1


async def test_channel_that_was_turned_off_meanwhile_is_not_used(post: Post) -> None:
    post.store.raised(notice())
    await post.runs()
    post.store.chosen["zhou"] = Preferences(channels={"work": []})
    await post.runs(5000)
    assert set(post.states.values()) == {"not-needed"}


async def test_directory_that_is_away_delays_and_loses_nothing(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: str) -> Any:
        raise DirectoryUnavailable("away")

    post.store.raised(notice())
    with monkeypatch.context() as patch:
        patch.setattr(post.directory, "person", away)
        await post.runs(1)
        assert post.store.deliveries == {}
    await post.runs(180)
    assert len(post.mail.sent) == 1


@pytest.mark.parametrize(
    ("start", "end", "clock", "until"),
    [
        ("22:00", "07:00", "23:30", "2026-11-25 07:00"),
        ("22:00", "07:00", "06:59", "2026-11-24 07:00"),
        ("22:00", "07:00", "07:00", ""),
        ("12:00", "13:00", "12:00", "2026-11-24 13:00"),
        ("12:00", "13:00", "13:00", ""),
    ],
)
def test_quiet_hours_end_in_the_morning(start: str, end: str, clock: str, until: str) -> None:
    quiet = QuietHours(start=time.fromisoformat(start), end=time.fromisoformat(end))
    now = datetime.fromisoformat(f"2026-11-24T{clock}").replace(tzinfo=ZONE)
    ends = quiet_until(delivery(), quiet, now.astimezone(UTC), ZONE)
    assert (f"{ends:%Y-%m-%d %H:%M}" if ends else "") == until
    assert quiet_until(delivery(urgency="emergency"), quiet, now, ZONE) is None


def test_quiet_hours_of_no_length_are_refused() -> None:
    with pytest.raises(ValidationError):
        QuietHours(start=time(7), end=time(7))


def test_retries_double_to_five_minutes_with_half_of_it_by_chance() -> None:
    assert [retry_delay(n, lambda: 1.0) for n in (1, 2, 3, 50)] == [2.0, 4.0, 8.0, 300.0]
    assert retry_delay(50, lambda: 0.0) == 150.0


@pytest.mark.parametrize("language", ["zh", "en"])
def test_messages_hold_number_and_link_and_always_the_same_id(language: str) -> None:
    one = delivery()
    message = mail(one, "imaging@region.example", "zhou@x.example", "https://portal.example", language)
    again = mail(one, "imaging@region.example", "zhou@x.example", "https://portal.example", language)
    assert message["Message-ID"] == again["Message-ID"] == f"<{one.id}@region.example>"
    parts = [message.get_body((kind,)) for kind in ("plain", "html")]
    for content in [*(part.get_content() for part in parts if part), text_message(one, "https://p.example", language)]:
        assert "C-1" in content
        assert "/portal/consults/c1" in content
        assert "周" not in content
    assert len(text_message(one, "https://portal.example", language)) <= 160


async def test_sms_gateway_sees_the_same_key_and_its_answers_are_told_apart() -> None:
    asked: list[httpx.Request] = []
    answers = iter((202, 429, 400, 503))

    def gateway(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(next(answers))

    client = httpx.AsyncClient(transport=httpx.MockTransport(gateway))
    sender = HttpSmsSender(DeliverySettings.model_validate({"sms_url": "http://sms", "sms_token": "t"}), client)
    results = [(await sender.send(delivery(), "+86", "zh")).result for _ in range(4)]
    assert results == ["sent", "again", "refused", "again"]
    assert {request.headers["idempotency-key"] for request in asked} == {delivery().id}
    assert asked[0].headers["authorization"] == "Bearer t"
    await sender.close()


def test_address_in_the_log_is_masked() -> None:
    assert (masked("zhou@x.example"), masked("+8621550000201")) == ("z***@x.example", "***201")
