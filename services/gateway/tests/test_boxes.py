"""The boxes: which there are for whom, their filters and pages, and the time that is left."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.consult_desk.boxes import boxes_of, time_left
from imaging_common.auth import Claims

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def case(number: int, **more: Any) -> dict[str, Any]:
    """A case as the consult service lists it."""
    at = NOW.isoformat()
    return {
        "id": f"{number:032x}", "number": f"C-{number}", "state": "submitted", "urgency": "routine",
        "applicant": "doctor.community", "applicant_name": "陈建国", "applicant_hospital": "community",
        "consultant_hospital": "secondary", "purpose": "性质？", "studies": [], "created_at": at, "submitted_at": at,
        "expert": None, "expert_name": None, "department": "", "limits": [], "overdue": False, "critical": None,
        "parent_number": "", "timeline": [{"at": at}], "patient": {"name": "张伟"}, **more,
    }  # fmt: skip


def test_each_role_has_its_boxes() -> None:
    assert boxes_of(frozenset({"doctor"})) == ["sent", "drafts"]
    assert boxes_of(frozenset({"doctor", "expert"})) == ["received", "mine", "review", "panel", "sent", "drafts"]
    assert boxes_of(frozenset({"coordinator"})) == ["received", "sent"]
    assert boxes_of(frozenset({"auditor"})) == []


def test_time_left_is_of_the_limit_due_first_and_pauses() -> None:
    limits = [
        {"name": "report", "due_at": (NOW + timedelta(hours=9)).isoformat(), "met_at": None},
        {"name": "accept", "due_at": (NOW + timedelta(hours=1)).isoformat(), "met_at": None},
    ]
    left = time_left(case(1, limits=limits), NOW + timedelta(minutes=45))
    assert left is not None
    assert (left.name, left.minutes, left.used, left.overdue) == ("accept", 15, 75, False)
    late = time_left(case(1, limits=limits), NOW + timedelta(hours=2))
    assert late is not None
    assert (late.overdue, late.used) == (True, 100)
    paused = time_left(case(1, limits=limits, state="returned"), NOW + timedelta(hours=2))
    assert paused is not None
    assert not paused.overdue
    assert time_left(case(1), NOW) is None


async def test_box_is_filtered_and_paged(world: Any) -> None:
    urgent = [case(n, urgency="urgent" if n % 2 else "routine") for n in range(60)]
    world.desk.cases = {one["id"]: one for one in urgent}
    browser = await world.signed_in("expert.secondary")
    page = (await browser.get("/portal/consults", params={"urgency": "urgent", "page": "2"})).text
    assert world.desk.asked[-1] == ("box", {"box": "received", "urgency": "urgent", "limit": 25, "offset": 25})
    assert len(re.findall(r'data-consult="', page)) == 5
    assert 'rel="prev"' in page
    assert 'rel="next"' not in page
    rows = await browser.get("/portal/consults/rows", params={"box": "mine", "overdue": "true"})
    assert world.desk.asked[-1][1] == {"box": "mine", "overdue": "true", "limit": 25, "offset": 0}
    assert "<html" not in rows.text


async def test_draft_leads_to_the_form_and_the_late_is_marked(world: Any) -> None:
    due = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    late = case(1, limits=[{"name": "accept", "due_at": due, "met_at": None}])
    world.desk.cases = {"a": late, "b": case(2, state="draft", consultant_hospital="", timeline=[])}
    page = (await (await world.signed_in()).get("/portal/consults", params={"box": "sent"})).text
    assert f'href="/portal/apply?draft={2:032x}"' in page
    assert page.count("data-overdue") == 1
    assert "1 h 0 min over" in page or "59 min over" in page or "1 h 1 min over" in page


async def test_coordinator_sees_boxes_and_an_auditor_is_told_there_are_none(world: Any) -> None:
    coordinator = Claims("coordinator.community", "community", frozenset({"coordinator"}), "郑")
    world.provider.people[coordinator.user] = coordinator
    assert (
        'data-testid="box-received"' in (await (await world.signed_in(coordinator.user)).get("/portal/consults")).text
    )
    assert 'data-testid="empty"' in (await (await world.signed_in("auditor.region")).get("/portal/consults")).text
