"""The start page: what waits for each role, in which order, and what it says when there is nothing."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from gateway.usecases.work_list import (
    critical_ones,
    going_on,
    returned_to,
    reviewable,
    sent_by,
    to_answer,
    to_claim,
)
from imaging_common.auth import Claims
from imaging_common.events import NoticeRaised

COORDINATOR = Claims("coordinator.community", "community", frozenset({"coordinator"}), "郑协调")
HOSPITAL_OPERATOR = Claims("operator.community", "community", frozenset({"hospital-operator"}), "吴运维")
DOCTOR, EXPERT, AUDITOR, OPERATOR = "doctor.community", "expert.secondary", "auditor.region", "operator.region"


def case(name: str, state: str = "submitted", **more: Any) -> dict[str, Any]:
    """A case as the consult service tells it."""
    at = more.pop("at", "2026-11-24T02:30:00+00:00")
    return {
        "id": name, "state": state, "urgency": "routine", "applicant": DOCTOR, "expert": None,
        "timeline": [{"at": at}], **more,
    }  # fmt: skip


def parts(page: str) -> set[str]:
    """The lists on a page."""
    return set(re.findall(r'data-testid="part-(\w+)"', page))


def test_expert_answers_the_overdue_then_the_urgent_then_the_oldest() -> None:
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    late = [{"name": "accept", "due_at": past, "met_at": None}]
    cases = [
        case("new"), case("old", at="2026-11-20T02:30:00+00:00"), case("urgent", urgency="urgent"),
        case("late", limits=late), case("another's", "accepted", expert="somebody"), case("done", "issued"),
        case("paused", "returned", limits=late),
        case("emergency", "accepted", expert=EXPERT, urgency="emergency"),
    ]  # fmt: skip
    assert [c["id"] for c in to_answer(cases, EXPERT)] == ["late", "emergency", "urgent", "old", "new"]


def test_doctor_sees_own_open_applications_with_reports_first() -> None:
    cases = [case("waits"), case("report", "issued"), case("other's", applicant="x"), case("over", "withdrawn")]
    assert [c["id"] for c in sent_by(cases, DOCTOR)] == ["report", "waits"]
    assert [c["id"] for c in going_on([*cases, *cases])] == ["waits", "other's", "report"]


def test_returned_critical_and_second_readings_are_their_peoples() -> None:
    value = {"raised_at": "2026-11-24T02:30:00+00:00", "acknowledged_at": None}
    cases = [
        case("back", "returned"), case("other's", "returned", applicant="x"), case("own", "in-review", expert=EXPERT),
        case("second", "in-review", expert="x"), case("danger", "issued", critical=value),
        case("known", "issued", critical={**value, "acknowledged_at": "2026-11-24T03:00:00+00:00"}),
    ]  # fmt: skip
    assert [c["id"] for c in returned_to(cases, DOCTOR)] == ["back"]
    assert [c["id"] for c in critical_ones(cases)] == ["danger"]
    assert [c["id"] for c in reviewable(cases, EXPERT)] == ["second"]
    assert to_claim([case("a"), case("b", "accepted"), case("c", "assigned", expert="x")]) == 2
    assert [c["id"] for c in sent_by(cases, DOCTOR)][:2] == ["danger", "known"]


async def test_doctor_starts_with_todays_studies_of_the_own_hospital(world: Any) -> None:
    today = datetime.now(ZoneInfo("Asia/Shanghai")).strftime("%Y%m%d")
    for number in range(11):
        world.add_study(f"1.2.{number}", study_date=today, study_time=f"{number:02d}0000")
    world.add_study("1.3.1", study_date="20200101")
    world.add_study("1.4.1", holder="secondary", study_date=today)
    browser = await world.signed_in()
    assert (await browser.get("/portal")).headers["location"] == "/portal/home"
    page = (await browser.get("/portal/home")).text
    assert parts(page) == {"studies", "sent", "reports"}
    shown = re.findall(r'data-testid="row-studies" data-study="([\d.]+)"', page)
    assert shown == [f"1.2.{number}" for number in range(10, 2, -1)]
    assert 'data-testid="total-studies">11<' in page
    assert 'data-testid="none-sent"' in page
    assert [event.reason for event in world.audited if event.action == "search"] == ["work-list", "reports"]


async def test_newest_studies_are_shown_while_there_are_none_today(world: Any) -> None:
    world.add_study("1.3.1", study_date="20200101")
    page = (await (await world.signed_in()).get("/portal/home")).text
    assert 'data-testid="none-today"' in page
    assert 'data-testid="total-studies">0<' in page
    assert re.findall(r'data-testid="row-studies" data-study="([\d.]+)"', page) == ["1.3.1"]


async def test_each_role_has_its_own_lists(world: Any) -> None:
    world.provider.people |= {claims.user: claims for claims in (COORDINATOR, HOSPITAL_OPERATOR)}
    world.add_study("1.2.3")
    world.desk.cases["c1"] = case(
        "c1", number="C-1", purpose="结节性质？", applicant_hospital="community", consultant_hospital="secondary"
    )
    lists = {
        EXPERT: {"answer", "studies", "sent", "reports"},
        COORDINATOR.user: {"cases"},
        HOSPITAL_OPERATOR.user: {"edges", "unlinked", "review"},
        OPERATOR: {"edges", "unlinked", "review"},
        AUDITOR: {"broken"},
    }
    for user, wanted in lists.items():
        page = (await (await world.signed_in(user)).get("/portal/home")).text
        assert parts(page) == wanted, user
        assert ("张伟" in page) is (user in (HOSPITAL_OPERATOR.user, OPERATOR)), user
        assert ("结节性质？" in page) is (user in (EXPERT, COORDINATOR.user)), user
        assert ("secondary" in re.findall(r'data-hospital="(\w+)"', page)) is (user == OPERATOR), user
    assert (
        'href="/portal/consults/c1"' not in (await (await world.signed_in(COORDINATOR.user)).get("/portal/home")).text
    )


async def test_auditor_is_told_of_break_glass_and_led_to_the_record(world: Any) -> None:
    notice = NoticeRaised(
        notice_id="1", recipient=f"user:{AUDITOR}", kind="break-glass-opened", number="g-1", link="/portal/audit",
        raised_at=datetime.now(UTC),
    )  # fmt: skip
    await world.notices.add(notice)
    page = (await (await world.signed_in(AUDITOR)).get("/portal/home")).text
    assert 'data-testid="row-broken"' in page
    assert 'href="/portal/audit"' in page


async def test_lists_go_on_when_the_consult_service_is_away(world: Any) -> None:
    world.desk.away = True
    answer = await (await world.signed_in()).get("/portal/home/parts", headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert "The consult service is away" in answer.text
    assert 'data-testid="part-studies"' in answer.text
