"""From event to EHR and bell: unchanged, in order, once, and one failing organisation harms no other."""

from datetime import UTC, datetime
from typing import Any

import pytest

from imaging_common.errors import PublishFailed
from imaging_common.events import EVENT_TYPES, Envelope, Event
from imaging_common.messaging import FakePublisher
from notification.adapters.fake_notices import FakeNoticeBook
from notification.handlers import build_router
from notification.model import Organisation
from notification.settings import NotificationSettings

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
    "reason": "",
    "report_id": "r1",
    "report_version": 2,
}
STUDY: dict[str, Any] = {
    "study_uid": "1.2.3",
    "holder": "community",
    "version": {"epoch": 1, "n": 1},
    "tier": "central",
    "announced": True,
    "settled": False,
    "stored": False,
    "series_count": 1,
    "instance_count": 1,
    "announced_count": 1,
    "stored_count": 0,
    "changed_at": NOW,
}
RESIDENTS = Organisation(id="residents", hospitals=frozenset({"community", "secondary"}))
INSURERS = Organisation(id="insurers", hospitals=frozenset({"community"}))
OTHERS = Organisation(id="others", hospitals=frozenset({"tertiary"}))


class PickyPublisher(FakePublisher):
    """Does not take events for `refused` topics."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    async def publish(
        self, topic: str, event: Event, key: str, *, traceparent: str | None = None, event_id: str | None = None
    ) -> None:
        if topic in self.refused:
            raise PublishFailed(f"{topic}: not there")
        await super().publish(topic, event, key, traceparent=traceparent, event_id=event_id)


@pytest.fixture
def publisher() -> PickyPublisher:
    return PickyPublisher()


@pytest.fixture
def book() -> FakeNoticeBook:
    return FakeNoticeBook()


async def arrive(
    publisher: FakePublisher, book: FakeNoticeBook, kind: str, topic: str, event_id: str = "e1", **more: Any
) -> Event:
    """The event as Kafka delivers it, through the router."""
    event = EVENT_TYPES[kind].model_validate((STUDY if kind == "StudyChanged" else CASE) | more)
    key = "1.2.3" if kind == "StudyChanged" else "c1"
    envelope = Envelope(
        id=event_id, type=kind, source="/imaging/test", time=NOW, topic=topic, key=key, traceparent=TRACE
    )
    handler = build_router([RESIDENTS, OTHERS, INSURERS], publisher, book).find(kind, topic)
    assert handler is not None
    await handler(event, envelope)
    return event


@pytest.mark.parametrize(
    ("kind", "topic"),
    [("StudyChanged", "study-changed"), ("ReportIssued", "report-changed"), ("ReportAmended", "report-changed")],
)
async def test_public_event_reaches_whom_it_concerns_unchanged(
    publisher: PickyPublisher, book: FakeNoticeBook, kind: str, topic: str
) -> None:
    event = await arrive(publisher, book, kind, topic)
    key = "1.2.3" if kind == "StudyChanged" else "c1"
    assert publisher.published == [("ehr-residents-events", event, key), ("ehr-insurers-events", event, key)]
    assert publisher.event_ids == ["e1", "e1"]
    assert publisher.traceparents == [TRACE, TRACE]


async def test_order_of_a_key_is_kept(publisher: PickyPublisher, book: FakeNoticeBook) -> None:
    sent = [
        await arrive(publisher, book, "StudyChanged", "study-changed", f"e{n}", version={"epoch": 1, "n": n})
        for n in range(1, 6)
    ]
    assert publisher.events("ehr-residents-events") == sent


async def test_failing_organisation_keeps_the_event_from_no_other(
    publisher: PickyPublisher, book: FakeNoticeBook
) -> None:
    publisher.refused = {"ehr-residents-events"}
    with pytest.raises(PublishFailed):
        await arrive(publisher, book, "StudyChanged", "study-changed")
    assert [topic for topic, _, _ in publisher.published] == ["ehr-insurers-events"]
    publisher.refused = set()
    await arrive(publisher, book, "StudyChanged", "study-changed")
    assert [topic for topic, _, _ in publisher.published][1:] == ["ehr-residents-events", "ehr-insurers-events"]
    assert set(publisher.event_ids) == {"e1"}


@pytest.mark.parametrize(
    "kind", ["ConsultSubmitted", "ConsultAccepted", "ConsultRejected", "ConsultWithdrawn", "ConsultAcknowledged"]
)
async def test_transition_raises_one_notice_and_no_ehr_hears_of_it(
    publisher: PickyPublisher, book: FakeNoticeBook, kind: str
) -> None:
    for _ in range(2):
        await arrive(publisher, book, kind, "consult-changed")
    assert len(book.raised) == 1
    assert publisher.published == []


async def test_applicant_is_told_of_the_report_even_when_the_ehrs_topic_is_away(
    publisher: PickyPublisher, book: FakeNoticeBook
) -> None:
    publisher.fail_with = PublishFailed("ehr-residents-events: away")
    with pytest.raises(PublishFailed):
        await arrive(publisher, book, "ReportIssued", "report-changed")
    (notice,) = book.raised.values()
    assert (notice.recipient, notice.kind) == ("user:doctor.community", "report-issued")


def test_organisations_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFICATION_ORGANISATIONS", '[{"id":"residents","hospitals":["community","secondary"]}]')
    assert NotificationSettings().organisations == [RESIDENTS]


async def test_broken_glass_raises_one_notice_however_often_it_is_told(
    publisher: PickyPublisher, book: FakeNoticeBook
) -> None:
    grant = {"grant_id": "g1", "kind": "break-glass", "user": "u", "granted_by": "u", "at": NOW, "until": NOW}
    event = EVENT_TYPES["AccessGranted"].model_validate(grant)
    envelope = Envelope(id="e9", type="AccessGranted", source="/s", time=NOW, topic="access-changed", key="g1")
    handler = build_router([RESIDENTS], publisher, book).find("AccessGranted", "access-changed")
    assert handler is not None
    await handler(event, envelope)
    await handler(event, envelope)
    assert [notice.recipient for notice in book.raised.values()] == ["region:auditor"]
    assert publisher.published == []
