"""From event to feed and bell: each handler calls its use case, once is enough, and what fails is tried again."""

from datetime import UTC, datetime
from typing import Any

import pytest

from imaging_common.errors import PublishFailed
from imaging_common.events import CONSULT_EVENTS, EVENT_TYPES, REPORT_EVENTS, Envelope, Event
from notification.adapters.fake_notices import FakeNoticeBook
from notification.feed.model import Statement
from notification.handlers import build_router

NOW = datetime(2026, 11, 24, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CASE: dict[str, Any] = {
    "consult_id": "c1",
    "number": "C-20261124-0001",
    "version": {"epoch": 1, "n": 1},
    "state": "submitted",
    "applicant": "doctor.community",
    "applicant_hospital": "community",
    "consultant_hospital": "secondary",
    "expert": "expert.secondary",
    "studies": [{"study_uid": "1.2.3", "holder": "community"}],
    "at": NOW,
    "report_id": "r1",
    "report_version": 2,
    "outcome": "failed",
}


class FakeFeed:
    """`FeedStore` as far as statements go."""

    def __init__(self) -> None:
        self.taken: list[Statement] = []
        self.away = False

    async def take(self, statement: Statement) -> None:
        if self.away:
            raise PublishFailed("away")
        self.taken.append(statement)


class Told:
    """A router over fakes."""

    def __init__(self) -> None:
        self.feed, self.book = FakeFeed(), FakeNoticeBook()
        self.router = build_router(self.feed, self.book, self.book)  # type: ignore[arg-type]

    async def arrives(self, kind: str, topic: str, data: dict[str, Any]) -> Event:
        """The event as Kafka delivers it."""
        event = EVENT_TYPES[kind].model_validate(data)
        envelope = Envelope(id="e1", type=kind, source="/s", time=NOW, topic=topic, key="k", traceparent=TRACE)
        handler = self.router.find(kind, topic)
        assert handler is not None, kind
        await handler(event, envelope)
        return event


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.mark.parametrize("kind", ["ReportIssued", "ReportAmended", "ReportDelivered"])
async def test_report_goes_to_people_and_feeds_with_its_id_and_trace(told: Told, kind: str) -> None:
    event = await told.arrives(kind, "report-changed", CASE)
    (statement,) = told.feed.taken
    assert (statement.event, statement.event_id, statement.key, statement.traceparent) == (event, "e1", "k", TRACE)
    assert {notice.recipient for notice in told.book.raised.values()} >= {"user:doctor.community"}


@pytest.mark.parametrize("kind", ["ConsultSubmitted", "ConsultAccepted", "ConsultRejected", "ConsultAcknowledged"])
async def test_transition_raises_its_notices_once_and_no_ehr_hears_of_it(told: Told, kind: str) -> None:
    await told.arrives(kind, "consult-changed", CASE)
    once = dict(told.book.raised)
    await told.arrives(kind, "consult-changed", CASE)
    assert told.book.raised == once
    assert once
    assert told.feed.taken == []


async def test_what_an_event_settles_is_not_sent_any_more(told: Told) -> None:
    await told.arrives("ConsultAssigned", "consult-changed", CASE)
    assert told.book.settled == [("/portal/consults/c1", ("consult-submitted", "consult-released", "limit-accept"))]


async def test_applicant_is_told_of_the_report_even_when_the_feed_is_away(told: Told) -> None:
    told.feed.away = True
    with pytest.raises(PublishFailed):
        await told.arrives("ReportIssued", "report-changed", CASE)
    assert {notice.kind for notice in told.book.raised.values()} == {"report-issued"}


async def test_broken_glass_raises_one_notice_however_often_it_is_told(told: Told) -> None:
    grant = {"grant_id": "g1", "kind": "break-glass", "user": "u", "granted_by": "u", "at": NOW, "until": NOW}
    for _ in range(2):
        await told.arrives("AccessGranted", "access-changed", grant)
    assert [notice.recipient for notice in told.book.raised.values()] == ["region:auditor"]


async def test_what_was_seen_in_the_portal_is_noted(told: Told) -> None:
    await told.arrives("NoticeSeen", "notice-seen", {"notice_id": "n1", "user": "u", "seen_at": NOW})
    assert told.book.read == {("n1", "u")}


def test_every_event_of_a_case_has_a_handler(told: Told) -> None:
    for topic, kinds in (("consult-changed", CONSULT_EVENTS), ("report-changed", REPORT_EVENTS)):
        assert all(told.router.find(kind.type_name(), topic) for kind in kinds)
