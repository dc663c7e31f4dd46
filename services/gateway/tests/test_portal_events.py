"""Events in: grants and notices are kept, open pages are told, also when a store is away."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from gateway.cases import TRANSITIONS
from gateway.handlers import build_live_reader, build_router
from gateway.model import HospitalEntry
from gateway.usecases.authenticate import Recent
from gateway.usecases.register_hospitals import register_hospitals
from imaging_common.access import Subject
from imaging_common.events import CONSULT_EVENTS, ConsultSubmitted, Envelope, NoticeRaised, NoticeSeen, Version

DOCTOR = Subject("doctor.community", "community", frozenset({"doctor"}))
ENVELOPE = Envelope(id="1", type="t", source="s", time=datetime.now(UTC), topic="consult-changed")
SUBMITTED = ConsultSubmitted(
    consult_id="c1", number="C-1", version=Version(epoch=0, n=1), state="submitted", applicant="doctor.community",
    applicant_hospital="community", consultant_hospital="secondary",
    studies=[{"study_uid": "1.2.3", "holder": "community"}], at=datetime.now(UTC),
)  # fmt: skip
NOTICE = NoticeRaised(
    notice_id="n", recipient="user:doctor.community", kind="report-issued", number="C-1", link="/portal/consults/c1",
    raised_at=datetime.now(UTC),
)  # fmt: skip


async def test_every_transition_and_notice_has_a_handler(world: Any) -> None:
    router = build_router(world.grants, world.notices)
    for event_type in (one for one in TRANSITIONS if one in CONSULT_EVENTS):
        assert router.find(event_type.type_name(), "consult-changed") is not None
    handler = router.find("ConsultSubmitted", "consult-changed")
    assert handler is not None
    await handler(SUBMITTED, ENVELOPE)
    await handler(SUBMITTED, ENVELOPE)
    assert world.grants.cases["c1"].open
    keep = router.find("NoticeRaised", "notice-raised")
    assert keep is not None
    await keep(NOTICE, ENVELOPE)
    assert list(world.notices.notices) == ["n"]


async def test_page_is_told_after_the_stores_know(world: Any) -> None:
    forgotten: list[int] = []
    tell = build_live_reader(world.grants, world.notices, world.live, lambda: forgotten.append(1))

    async def subject() -> Subject:
        return DOCTOR

    async with world.live.listen(subject) as listener:
        assert await listener.next() == ["resync"]
        await tell(SUBMITTED, ENVELOPE)
        assert world.grants.cases["c1"].open
        assert forgotten == [1]
        assert await listener.next() == ["consults", "consult-c1"]
        await tell(NOTICE, ENVELOPE)
        assert "n" in world.notices.notices
        assert await listener.next() == ["notices"]
        assert [one.notice for one in listener.notices()] == [NOTICE]
        await tell(NoticeSeen(notice_id="n", user=DOCTOR.user, seen_at=datetime.now(UTC)), ENVELOPE)
        assert await listener.next() == ["notices"], "their other pages count anew"
        assert listener.notices() == []


async def test_page_asks_for_itself_when_its_user_cannot_be_looked_up(world: Any) -> None:
    async def away() -> Subject:
        raise AutoReconnect("away")

    async with world.live.listen(away) as listener:
        await listener.next()
        await world.live.publish(SUBMITTED)
        assert await listener.next() == ["resync"]


async def test_hospitals_of_the_settings_are_registered(world: Any) -> None:
    third = HospitalEntry(hospital="third", name_zh="三院", name_en="Third", level="tertiary", tier="distributed")
    await register_hospitals(world.registry, [third])
    assert world.registry.entries["third"].event().tier == "distributed"


async def test_recent_answer_is_asked_again_after_an_error_and_after_its_time() -> None:
    now, asked = [0.0], [0]
    recent: Recent[int] = Recent(lambda: now[0])

    async def ask() -> int:
        asked[0] += 1
        if asked[0] == 1:
            raise AutoReconnect("away")
        return asked[0]

    with pytest.raises(AutoReconnect):
        await recent.get("k", ask)
    assert [await recent.get("k", ask), await recent.get("k", ask)] == [2, 2]
    now[0] = 2.0
    assert await recent.get("k", ask) == 3
    recent.forget("k")
    assert await recent.get("k", ask) == 4
