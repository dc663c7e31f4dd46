"""Pages about studies in hospitals' own PACS: where they lie, how they come, who is away; and what the EHR opens."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.api import viewing
from gateway.handlers import build_retrieval_reader, build_router
from gateway.retrievals.edges import EdgeState
from imaging_common.auth import Claims
from imaging_common.events import (
    ConsultSubmitted,
    EdgeHeartbeat,
    Envelope,
    RetrieveProgressed,
    RetrieveRequested,
    Version,
)

DOCTOR = Claims("doctor.tertiary", "tertiary", frozenset({"doctor"}), "孙伟")
STUDY, KEY = "1.2.840.9", "tertiary/1.2.840.9"
TOPIC = "edge-commands-tertiary"
HEARTBEAT = EdgeHeartbeat(sequence=1, backlog_instances=0, backlog_bytes=0, spool_bytes=0, spool_limit_bytes=1,
                          agent_version="0", sent_at=datetime.now(UTC))  # fmt: skip


def envelope(topic: str) -> Envelope:
    return Envelope(id="1", type="t", source="s", time=datetime.now(UTC), topic=topic)


def distributed(world: Any, uid: str = STUDY, *, online: int = 0, tier: str = "distributed", **more: Any) -> None:
    """A study at the hospital with a PACS, and the doctor who may see it."""
    world.provider.people[DOCTOR.user] = DOCTOR
    world.add_study(uid, "tertiary", tier=tier, online_count=online, header_count=0, **more)
    world.reader.put(
        "series",
        {"_id": f"tertiary/{uid}/{uid}.1", "study_uid": uid, "series_uid": f"{uid}.1", "holder": "tertiary",
         "study_key": f"tertiary/{uid}", "instance_count": 120, "online_count": online},
    )  # fmt: skip
    names = {"study_uid": uid, "series_uid": f"{uid}.1", "holder": "tertiary", "study_key": f"tertiary/{uid}"}
    for n in (1, 2, 3):
        world.reader.put(
            "instances",
            {"_id": f"tertiary/{uid}/{uid}.1.{n}", **names, "series_key": f"tertiary/{uid}/{uid}.1",
             "sop_instance_uid": f"{uid}.1.{n}", "sop_class_uid": "1.2", "instance_number": n,
             "transfer_syntax_uid": "", "sha256": None, "location": None, "header": b"{}", "header_full": False},
        )  # fmt: skip


def requests(world: Any) -> list[RetrieveRequested]:
    return [event for event in world.publisher.events(TOPIC) if isinstance(event, RetrieveRequested)]


async def test_list_says_where_a_study_lies_and_who_is_away(world: Any) -> None:
    distributed(world)
    browser = await world.signed_in(DOCTOR.user)
    page = (await browser.get("/portal/studies")).text
    assert 'data-tier="pacs" data-availability="NEARLINE"' in page
    assert "hospital PACS" in page
    assert 'data-testid="holder-away"' not in page
    edges = world.portal.retriever.edges
    edges._known["tertiary"] = EdgeState(HEARTBEAT, datetime.now(UTC) - timedelta(minutes=2))
    page = (await browser.get("/portal/studies")).text
    assert 'data-availability="OFFLINE"' in page
    assert "tertiary cannot be asked since" in page
    assert "its edge agent is offline" in page


async def test_progress_is_shown_and_told_to_open_pages(world: Any) -> None:
    distributed(world)
    browser = await world.signed_in(DOCTOR.user)
    assert (await browser.get(f"/viewer?StudyInstanceUIDs={STUDY}")).status_code == 200
    for task in list(world.portal.prefetch._tasks):
        await task
    (request,) = requests(world)
    assert (request.priority, request.first) == (0, [f"{STUDY}.1.1", f"{STUDY}.1.2"])
    follow = build_retrieval_reader(world.portal.retriever, world.live)
    subject = await world.portal.authenticator.subject(DOCTOR)

    async def subject_now() -> Any:
        return subject

    async with world.live.listen(subject_now) as listener:
        await listener.next()
        event = RetrieveProgressed(
            retrieval_id=request.retrieval_id, study_uid=STUDY, state="running", instances_total=120,
            instances_done=30, bytes_done=15_800_000, at=datetime.now(UTC),
        )  # fmt: skip
        await follow(event, envelope("edge-events-tertiary"))
        assert await listener.next() == ["progress"]
    form = {"shown": [KEY, "community/1.2.3"], "csrf": world.csrf(DOCTOR.user)}
    bars = (await browser.post("/portal/studies/progress", data=form)).text
    assert 'value="25"' in bars
    assert "30/120 images · 15.8 MB" in bars
    assert 'hx-swap-oob="true"' in bars
    assert "community" not in bars


async def test_viewer_page_carries_our_line_and_its_stream_holds_the_retrieval(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing, "STREAM_SECONDS", 0.2)
    distributed(world, online=20)
    browser = await world.signed_in(DOCTOR.user, **{"Accept-Language": "zh"})
    page = await browser.get(f"/viewer?StudyInstanceUIDs={STUDY}")
    script = page.text.split('<script defer src="')[1].split('"')[0]
    assert page.text.index(script) < page.text.index("</head>")
    assert (await browser.get(script)).headers["content-type"].startswith("text/javascript")
    for task in list(world.portal.prefetch._tasks):
        await task
    answer = await browser.get("/portal/viewing", params={"study": STUDY})
    (data,) = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    (shown,) = json.loads(data)["lines"]
    assert shown["where"] == "tertiary · 部分已缓存"
    assert shown["progress"] == "正在向医院调取…"
    assert world.portal.retriever._desks[KEY].leased
    assert (await browser.get("/portal/viewing", params={"study": "1.2.3"})).status_code == 200


async def test_opened_record_of_the_ehr_warms_the_cache_and_opens_nothing(world: Any) -> None:
    for number in range(7):
        distributed(world, f"1.2.9.{number}", resident_id="R-1", study_date=f"2026110{number + 1}")
    program = world.browser(Accept="application/json")
    path = "/ehr/records/R-1/opened"
    assert (await program.post(path)).status_code == 401
    doctor = {"Authorization": "Bearer bearer-doctor.community"}
    assert (await program.post(path, headers=doctor)).status_code == 403
    answer = await program.post(path, headers={"Authorization": "Bearer bearer-ehr-residents"})
    assert answer.status_code == 202
    for task in list(world.portal.retriever._tasks):
        await task
    asked = requests(world)
    assert [event.study_uid for event in asked] == [f"1.2.9.{number}" for number in (6, 5, 4, 3, 2)]
    assert {event.priority for event in asked} == {5}
    assert [(r.outcome, r.reason, r.count) for r in world.audited if r.action == "retrieve"] == [
        ("denied", "role-without-records", 0),
        ("success", "record-opened", 5),
    ]
    assert (await program.get("/portal/studies", headers={"Authorization": "Bearer bearer-ehr-residents"})).is_error


async def test_priors_of_the_same_body_part_come_first_and_a_case_is_brought(world: Any) -> None:
    distributed(world, study_date="20261120")
    distributed(world, "1.2.10.1", study_date="20261001", body_parts=["HEAD"])
    distributed(world, "1.2.10.2", study_date="20200101", body_parts=["CHEST"])
    distributed(world, "1.2.10.3", study_date="20260901", body_parts=["HEAD"])
    distributed(world, "1.2.10.4", study_date="20250901", body_parts=["HEAD"], tier="central")
    distributed(world, "1.2.10.5", study_date="20250801", online=120)
    (opened,) = await world.portal.index.holders_of(STUDY)
    world.portal.prefetch._priors = 3
    assert await world.portal.prefetch.priors([opened]) == 2
    for task in list(world.portal.retriever._tasks):
        await task
    assert [event.study_uid for event in requests(world)] == ["1.2.10.2", "1.2.10.1"]
    submitted = ConsultSubmitted(
        consult_id="c1", number="C-1", version=Version(epoch=0, n=1), state="submitted", applicant="doctor.tertiary",
        applicant_hospital="tertiary", consultant_hospital="secondary",
        studies=[{"study_uid": "1.2.10.3", "holder": "tertiary"}, {"study_uid": "1.2.10.3", "holder": "tcm"}],
        at=datetime.now(UTC),
    )  # fmt: skip
    handler = build_router(world.grants, world.notices, world.portal.prefetch).find(
        "ConsultSubmitted", "consult-changed"
    )
    assert handler is not None
    await handler(submitted, envelope("consult-changed"))
    for task in list(world.portal.retriever._tasks):
        await task
    assert requests(world)[-1].study_uid == "1.2.10.3"
