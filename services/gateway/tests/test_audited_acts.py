"""Every main act is on record once: who, with which roles and in which session, what, why and from where; and first."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.dicomweb.access import StudyDoor
from gateway.grants.model import Ehr
from imaging_common.access import Subject
from imaging_common.auth import session_name
from imaging_common.errors import PublishFailed
from imaging_common.events import AuditRecorded

EHR_ORIGIN = "https://ehr.test"
JSON = {"Accept": "application/dicom+json"}
PICTURE = {"Accept": "image/*"}
EHR = {"Authorization": "Bearer bearer-ehr-residents"}
GLASS = {"resident": "R-1", "reason": "急诊昏迷，需要既往头颅影像", "minutes": "30", "sure": "yes"}
SHARE = {"ref": "community/1.2.3", "days": "7", "note": "给外院李医生会诊", "max_opens": "", "whole": ""}
LAUNCH = {"user": "dr.zhao", "name": "赵医生", "resident": "R-1", "purpose": "TREAT"}


@pytest.fixture
def world(world: Any, tmp_path: Path) -> Any:
    """One resident's studies at two hospitals, and a registered EHR."""
    ehrs = [Ehr(client_id="ehr-residents", origins=[EHR_ORIGIN])]
    made = type(world)(tmp_path, public_url="https://portal.test", ehrs=ehrs)
    made.add_study("1.2.3", "community", resident_id="R-1")
    made.add_study("1.2.4", "secondary", resident_id="R-1")
    return made


@pytest.fixture
async def doctor(world: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in; the sign-in's own record is forgotten."""
    browser = await world.signed_in()
    world.publisher.published.clear()
    yield browser
    await browser.aclose()


def session_of(world: Any) -> str:
    """The doctor's session as the record names it."""
    return session_name(next(s.key for s in world.sessions.sessions.values() if s.claims.user == "doctor.community"))


def only(world: Any, **wanted: Any) -> AuditRecorded:
    """The one record with these values."""
    found = [one for one in world.audited if all(getattr(one, name) == value for name, value in wanted.items())]
    assert len(found) == 1, (wanted, world.audited)
    return found[0]


async def test_sign_in_and_out_name_one_session(world: Any) -> None:
    browser = await world.signed_in()
    name = session_of(world)
    await browser.post("/auth/logout", data={"csrf": world.csrf()})
    assert name
    assert [(one.action, one.user, one.roles, one.hospital, one.session) for one in world.audited] == [
        ("sign-in", "doctor.community", ["doctor"], "community", name),
        ("sign-out", "doctor.community", ["doctor"], "community", name),
    ]
    await browser.get("/auth/callback", params={"state": "foreign", "code": "x"})
    assert only(world, action="sign-in", outcome="denied").user == "unknown"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/portal/studies", "list"),
        ("/portal/studies/rows", "live"),
        ("/portal/orders", "orders"),
        ("/dicomweb/studies", ""),
        ("/portal/reports", "reports"),
    ],
)
async def test_query_says_who_and_in_which_session(
    world: Any, doctor: httpx.AsyncClient, path: str, reason: str
) -> None:
    await doctor.post("/portal/studies/search", data={"csrf": world.csrf(), "words": "Zhang"})
    answer = await doctor.get(path, headers=JSON if "dicomweb" in path else {})
    assert answer.status_code < 400, answer.text
    record = only(world, action="search", reason=reason)
    assert (record.user, record.roles, record.hospital) == ("doctor.community", ["doctor"], "community")
    assert record.session == session_of(world)
    assert "Zhang" not in record.model_dump_json()


async def test_view_is_recorded_once_a_session_however_often_its_parts_are_asked_for(
    world: Any, doctor: httpx.AsyncClient
) -> None:
    for path in ("1.2.3/metadata", "1.2.3/series/1.2.3.1/metadata", "1.2.3/metadata"):
        await doctor.get(f"/dicomweb/studies/{path}", headers=JSON)
    await doctor.get("/portal/studies/community/1.2.3/reports")
    await doctor.get("/viewer/series", params={"study": "1.2.3", "series": "1.2.3.1", "holder": "community"})
    ids = {one.audit_id for one in world.audited if one.action == "view"}
    assert len(ids) == 1, "each way to the study tells the same act, which the audit service keeps once"
    record = next(one for one in world.audited if one.action == "view")
    assert (record.study_uid, record.holder, record.resident_id) == ("1.2.3", "community", "R-1")
    assert (record.reason, record.session) == ("own-hospital", session_of(world))


async def test_denied_view_is_recorded_and_tells_no_more_than_an_absent_study(
    world: Any, doctor: httpx.AsyncClient
) -> None:
    denied = await doctor.get("/dicomweb/studies/1.2.4/metadata", headers=JSON)
    absent = await doctor.get("/dicomweb/studies/1.2.9/metadata", headers=JSON)
    assert (denied.status_code, denied.content) == (absent.status_code, absent.content)
    assert only(world, outcome="denied", study_uid="1.2.4").reason == "no-grant"
    assert only(world, outcome="denied", study_uid="1.2.9").reason == "no-such-study"


async def test_list_full_of_thumbnails_is_one_act_of_searching_a_resident(
    world: Any, doctor: httpx.AsyncClient
) -> None:
    world.add_study("1.2.5", "community", resident_id="R-1")
    world.add_study("1.2.6", "community")
    for uid in ("1.2.3", "1.2.5", "1.2.6", "1.2.3"):
        await doctor.get(f"/dicomweb/hospitals/community/studies/{uid}/thumbnail?viewport=96,96", headers=PICTURE)
    found = [(one.action, one.reason, one.resident_id, one.study_uid) for one in world.audited]
    assert found == [("search", "thumbnails", "R-1", None), ("search", "thumbnails", None, "1.2.6")]
    await doctor.get("/dicomweb/hospitals/community/studies/1.2.3/thumbnail?viewport=2000,2000", headers=PICTURE)
    assert only(world, action="view").study_uid == "1.2.3", "a thumbnail of the image's own size is a view"


async def test_workstation_retrieves_by_its_hospitals_agent_and_ae_title(world: Any) -> None:
    agent = Subject("edge-secondary", "secondary", frozenset({"edge-agent"}), source="EDGE_SEC")
    door = StudyDoor(world.portal.index, world.portal.audit)
    for _ in range(3):
        await door.open(agent, "1.2.4", None)
    await door.searched(agent, 2)
    for record in (only(world, action="retrieve"), only(world, action="search")):
        assert (record.user, record.roles, record.source) == ("edge-secondary", ["edge-agent"], "EDGE_SEC")
    assert only(world, action="retrieve").study_uid == "1.2.4"


async def test_launch_and_what_its_window_shows_say_who_opened_it_and_why(world: Any) -> None:
    async with world.browser() as ehr, world.browser() as frame:
        code = (await ehr.post("/launches", json=LAUNCH, headers=EHR)).json()["code"]
        cross_site = {"Origin": EHR_ORIGIN, "Sec-Fetch-Site": "cross-site"}
        assert (await frame.post("/launch", data={"code": code}, headers=cross_site)).status_code == 200
        await frame.get("/dicomweb/studies/1.2.3/metadata", headers=JSON)
        assert (await frame.post("/launch", data={"code": code}, headers=cross_site)).status_code == 409
    opened, view = only(world, action="launch", outcome="success"), only(world, action="view")
    assert (opened.user, opened.source, opened.purpose, opened.resident_id) == (
        "dr.zhao", "ehr-residents", "TREAT", "R-1",
    )  # fmt: skip
    assert (view.user, view.reason, view.grant_id, view.purpose) == ("dr.zhao", "launch", opened.grant_id, "TREAT")
    assert view.session
    assert only(world, action="launch", outcome="denied").reason == "code-replayed"


async def test_share_and_its_end_are_recorded(world: Any, doctor: httpx.AsyncClient) -> None:
    made = await doctor.post("/portal/shares", data=SHARE | {"csrf": world.csrf()})
    assert made.status_code == 201
    (grant,) = world.access_grants.grants
    await doctor.post(f"/portal/shares/{grant}/revoke", data={"csrf": world.csrf()})
    acts = [one for one in world.audited if one.action in ("share", "revoke")]
    assert [(one.action, one.grant_id, one.study_uid, one.session) for one in acts] == [
        ("share", grant, "1.2.3", session_of(world)),
        ("revoke", grant, "1.2.3", session_of(world)),
    ]


async def test_broken_glass_says_why_and_what_it_showed(world: Any, doctor: httpx.AsyncClient) -> None:
    await doctor.post("/portal/break-glass", data=GLASS | {"csrf": world.csrf()})
    await doctor.get("/dicomweb/studies/1.2.4/metadata", headers=JSON)
    act, view = only(world, action="break-glass"), only(world, action="view")
    assert (act.purpose, act.resident_id, act.session) == (GLASS["reason"], "R-1", session_of(world))
    assert (view.reason, view.grant_id) == ("break-glass", act.grant_id)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/portal/audit", "not-an-auditor"),
        ("/portal/removal", "not-an-operator"),
        ("/portal/residents", "not-an-operator"),
        ("/portal/onboarding", "not-the-region-operator"),
    ],
)
async def test_page_for_other_roles_is_refused_and_recorded(
    world: Any, doctor: httpx.AsyncClient, path: str, reason: str
) -> None:
    assert (await doctor.get(path)).status_code == 403
    record = only(world, outcome="denied")
    assert (record.reason, record.user, record.session) == (reason, "doctor.community", session_of(world))


async def test_nothing_is_shown_or_opened_when_the_record_cannot_be_written(
    world: Any, doctor: httpx.AsyncClient
) -> None:
    async with world.browser() as ehr, world.browser() as frame:
        code = (await ehr.post("/launches", json=LAUNCH, headers=EHR)).json()["code"]
        world.publisher.fail_with = PublishFailed("neither Kafka nor the outbox takes it")
        answers = [
            await doctor.get("/dicomweb/studies/1.2.3/metadata", headers=JSON),
            await doctor.get("/dicomweb/studies", headers=JSON),
            await doctor.get("/dicomweb/studies/1.2.3/thumbnail?viewport=96,96", headers=PICTURE),
            await doctor.get("/portal/studies/rows"),
            await doctor.post("/portal/shares", data=SHARE | {"csrf": world.csrf()}),
            await doctor.post("/portal/break-glass", data=GLASS | {"csrf": world.csrf()}),
            await frame.post("/launch", data={"code": code}, headers={"Origin": EHR_ORIGIN}),
            await frame.get("/fhir/R4/ImagingStudy?patient.identifier=R-1", headers=EHR),
        ]
    assert [answer.status_code for answer in answers] == [503] * len(answers)
    assert not any("1.2.3" in answer.text or "张伟" in answer.text for answer in answers)
    assert world.access_grants.grants == {}
