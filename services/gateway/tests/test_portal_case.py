"""The case page over fakes: what it shows, what one does, the discussion, its files, its versions, and the check."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

EXPERT = "expert.secondary"
STUDY = {"study_uid": "1.2.3", "holder": "community"}
IMAGE = {**STUDY, "series_uid": "1.2.3.4", "instance_uid": "1.2.3.4.5", "frame": 2, "note": "结节"}
NOW = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)


def limit(name: str, minutes: int, **more: Any) -> dict[str, Any]:
    """A time limit so many minutes from now."""
    at = NOW + timedelta(minutes=minutes)
    ahead = (at - timedelta(minutes=30)).isoformat()
    return {"name": name, "due_at": at.isoformat(), "remind_at": ahead, "escalate_at": at.isoformat(), **more}


def at_state(page: str) -> str:
    """The state that a page shows."""
    found = re.search(r'data-testid="consult-state" data-state="([\w-]+)"', page)
    assert found
    return found[1]


async def test_case_shows_the_whole_application_with_links_into_the_viewer(world: Any) -> None:
    world.add_study("1.2.3")
    world.consults.add(
        "c1",
        studies=[STUDY],
        key_images=[IMAGE],
        patient={"name": "张伟", "sex": "M", "patient_id": "P-001"},
        diagnoses=[{"code": "R91", "text": "肺结节"}],
        questions=["良恶性？"],
        applicant_phone="021-5555",
        attachments=[{"id": "f1", "kind": "lab", "name": "血常规.pdf", "media_type": "application/pdf", "size": 2000}],
        server_time=NOW.isoformat(),
        limits=[limit("accept", -20), limit("report", 90), limit("opinion", 20)],
        parent_id="p1",
        parent_number="C-20261123-0009",
    )
    page = (await (await world.signed_in()).get("/portal/consults/c1")).text
    for text in ("张伟", "R91", "肺结节", "良恶性？", "021-5555", "血常规.pdf", "C-20261123-0009"):
        assert text in page, text
    assert 'class="overdue"><b>Accept</b> <span>20 min overdue' in page
    assert 'class="running"><b>Report</b> <span>1 h 30 min left' in page
    assert 'class="near"><b>First opinion' in page
    assert "initialSeriesInstanceUID=1.2.3.4&amp;initialSOPInstanceUID=1.2.3.4.5" in page
    assert "/instances/1.2.3.4.5/frames/2/thumbnail" in page


async def test_only_what_is_allowed_is_offered(world: Any) -> None:
    world.consults.add("c1", allowed=["return", "ask-panel"], state="reading")
    page = (await (await world.signed_in(EXPERT)).get("/portal/consults/c1")).text
    offered = set(re.findall(r'action="/portal/consults/c1/([\w-]+)"', page)) - {"discussion"}
    assert offered == {"return", "ask-panel", "invitation"}


async def test_conflict_says_who_was_faster_and_keeps_what_was_typed(world: Any) -> None:
    world.consults.add("c1", version=7)
    expert = await world.signed_in(EXPERT, **{"HX-Request": "true"})
    form = {"csrf": world.csrf(EXPERT), "version": "6", "reason": "写了很久"}
    page = await expert.post("/portal/consults/c1/return", data=form)
    assert page.status_code == 409
    assert "王强" in page.text
    assert "写了很久" in page.text
    assert 'name="version" value="7"' in page.text
    assert at_state(page.text) == "submitted"


async def test_each_action_sends_what_it_needs_and_nothing_else(world: Any) -> None:
    world.consults.add("c1", allowed=["assign", "ask-panel", "escalate", "acknowledge-critical"])
    expert = await world.signed_in(EXPERT)
    sent: list[tuple[str, dict[str, str], dict[str, Any]]] = [
        ("assign", {"person": "li|secondary"}, {"expert": "li", "expert_hospital": "secondary"}),
        ("ask-panel", {"person": "wu|tertiary", "question": "?", "opinion": "no"},
         {"member": "wu", "expert_hospital": "tertiary", "question": "?"}),
        ("escalate", {"target_kind": "auto", "target_hospital": "tertiary"},
         {"target": {"target_kind": "auto", "consultant_hospital": "", "department": ""}}),
        ("acknowledge-critical", {"action_taken": "已通知"}, {"action_taken": "已通知"}),
    ]  # fmt: skip
    for version, (action, typed, expected) in enumerate(sent, 1):
        form = {"csrf": world.csrf(EXPERT), "version": str(version), **typed}
        done = await expert.post(f"/portal/consults/c1/{action}", data=form)
        assert done.status_code == 303, action
        assert world.consults.acts[-1][1:] == (action, {"version": version, **expected})
    assert (await expert.post("/portal/consults/c1/no-such", data=form)).status_code == 404


async def test_experts_are_found_for_the_chooser(world: Any) -> None:
    world.consults.add("c1")
    world.consults.known["experts/search"] = [{"user": "wu", "name": "吴磊", "hospital": "secondary", "on_duty": True}]
    page = (await (await world.signed_in(EXPERT)).get("/portal/consults/c1/people?q=wu")).text
    assert 'value="wu|secondary"' in page
    assert "吴磊" in page


async def test_comment_names_people_and_an_image_of_the_case_alone(world: Any) -> None:
    world.add_study("1.2.3")
    world.consults.add("c1", studies=[STUDY], expert=EXPERT, expert_name="周敏")
    doctor = await world.signed_in(**{"HX-Request": "true"})
    form = {
        "csrf": world.csrf(), "text": "看这里", "mention": EXPERT, "image_study": "1.2.3", "image_series": "1.2.3.4",
        "image_instance": "1.2.3.4.5", "image_frame": "2",
    }  # fmt: skip
    page = await doctor.post("/portal/consults/c1/discussion", data=form)
    assert "看这里" in page.text
    assert "@周敏" in page.text
    assert 'data-testid="comment-key-image"' in page.text
    assert world.consults.sent[-1][1]["key_image"] == {**IMAGE, "note": ""}
    await doctor.post("/portal/consults/c1/discussion", data={**form, "image_study": "9.9.9"})
    assert world.consults.sent[-1][1]["key_image"] is None


async def test_files_are_saved_and_never_part_of_the_site(world: Any) -> None:
    world.consults.add("c1")
    doctor = await world.signed_in()
    got = await doctor.get("/portal/consults/c1/attachments/f1")
    assert got.content == b"%PDF-1.7"
    assert got.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in got.headers["content-security-policy"]
    pdf = await doctor.get("/portal/consults/c1/reports/1/pdf")
    assert pdf.headers["content-disposition"] == 'inline; filename="C-20261124-0001-1.pdf"'


async def test_versions_show_what_changed_and_where_they_went(world: Any) -> None:
    world.consults.add("c1", state="issued")
    base = {"findings": "旧", "impression": "旧", "issued_at": NOW.isoformat(), "author": EXPERT, "author_name": "周敏"}
    failed = {"stored": True, "delivery": "failed", "failure": "PACS refused"}
    world.consults.versions["c1"] = [
        {**base, "version": 1, "outputs": {"stored": True, "delivery": "stored"}},
        {**base, "version": 2, "amendment_reason": "笔误", "outputs": failed},
    ]
    pieces = [{"kind": "removed", "text": "旧"}, {"kind": "added", "text": "新"}]
    world.consults.known["c1/reports/1/difference/2"] = {
        "fields": [{"field": "findings", "changed": True, "pieces": pieces}]
    }
    doctor = await world.signed_in()
    page = (await doctor.get("/portal/consults/c1/versions")).text
    assert "<del>旧</del><ins>新</ins>" in page
    assert "笔误" in page
    again = await doctor.post("/portal/consults/c1/versions/2/again", data={"csrf": world.csrf()})
    assert again.status_code == 303
    assert world.consults.sent == [("c1/reports/2/retry", {})]


async def test_verification_tells_what_a_code_stands_for_to_anybody(world: Any) -> None:
    at = NOW.isoformat()
    world.consults.codes["ABCDE"] = {"number": "C-1", "version": 1, "issued_at": at, "hospital": "secondary"}
    anybody = world.browser()
    known = await anybody.get("/verify/ABCDE")
    assert 'data-known="yes"' in known.text
    assert "First" in known.text
    unknown = await anybody.get("/verify/ABCDF")
    assert unknown.status_code == 404
    assert 'data-known="no"' in unknown.text
