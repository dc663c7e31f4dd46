"""The auditor's page: who saw what, a resident's access log over all hospitals, and the export."""

from datetime import UTC, datetime
from typing import Any

from imaging_common.events import AuditRecorded


def link(n: int, **more: Any) -> dict[str, Any]:
    fields = {
        "audit_id": f"a{n}", "service": "gateway", "action": "view", "outcome": "success", "user": "doctor.tcm",
        "hospital": "tcm", "study_uid": "1.2.3", "holder": "community", "reason": "consult-grant",
        "at": datetime(2026, 11, 24, 8, n, tzinfo=UTC),
    }  # fmt: skip
    record = AuditRecorded.model_validate(fields | more).model_dump(mode="json")
    return {"audit_id": f"a{n}", "stream": "audit-recorded-0", "seq": n, "record": record}


async def test_auditor_reads_who_saw_what_and_goes_on_to_older_records(world: Any) -> None:
    world.records.links = [link(n) for n in range(3)]
    browser = await world.signed_in("auditor.region")
    page = await browser.get("/portal/audit")
    assert page.text.count('data-testid="record"') == 2
    assert "doctor.tcm" in page.text
    form = {"csrf": world.csrf("auditor.region"), "user": "doctor.tcm", "after": "2"}
    older = await browser.post("/portal/audit/search", data=form)
    assert older.text.count('data-testid="record"') == 1
    assert "older" not in older.text.split('data-testid="records"')[1].lower() or "after" not in older.text
    assert world.records.asked[-1]["user"] == "doctor.tcm"


async def test_access_log_of_a_resident_takes_in_all_hospitals(world: Any) -> None:
    world.add_study("1.2.3", "community", resident_id="R-1")
    world.add_study("1.2.4", "tertiary", resident_id="R-1")
    world.add_study("1.2.5", "tertiary", resident_id="R-2")
    browser = await world.signed_in("auditor.region")
    await browser.post("/portal/audit/search", data={"csrf": world.csrf("auditor.region"), "resident": "R-1"})
    assert world.records.asked[-1]["resident"] == ["R-1"]
    assert world.records.asked[-1]["study"] == ["1.2.3", "1.2.4"]


async def test_log_of_a_resident_says_who_looked_by_hospital_and_right(world: Any) -> None:
    world.add_study("1.2.3", "community", resident_id="R-1")
    times = {"first": "2026-11-24T08:00:00+00:00", "last": "2026-11-24T09:30:00+00:00"}
    world.records.people = [
        {"hospital": "", "user": "share-1a2b3c4d", "looks": 1, "searches": 0, "denied": 0, "rights": ["share-link"]}
        | times,
        {"hospital": "community", "user": "doctor.community", "looks": 3, "searches": 2, "denied": 0,
         "rights": ["break-glass", "own-hospital"]} | times,
        {"hospital": "community", "user": "nosy", "looks": 0, "searches": 0, "denied": 4, "rights": []} | times,
    ]  # fmt: skip
    browser = await world.signed_in("auditor.region")
    form = {"csrf": world.csrf("auditor.region"), "resident": "R-1"}
    page = (await browser.post("/portal/audit/search", data=form)).text
    log = page.split('data-testid="access-log"')[1].split("</section>")[0]
    assert log.count('data-testid="looker"') == 3
    assert log.count("Tangqiao") == 1  # the hospital stands once beside its people
    assert "break-glass · own hospital" in log
    assert "No hospital" in log
    assert [asked.get("resident") for asked in world.records.asked[-2:]] == [["R-1"], ["R-1"]]
    older = await browser.post("/portal/audit/search", data=form | {"after": "2"}, headers={"HX-Request": "true"})
    assert "access-log" not in older.text
    assert "access-log" not in (await browser.get("/portal/audit")).text


async def test_export_streams_in_the_form_that_was_asked_for(world: Any) -> None:
    world.records.links = [link(n) for n in range(3)]
    browser = await world.signed_in("auditor.region")
    form = {"csrf": world.csrf("auditor.region"), "from": "2026-11-24", "to": "2026-11-24"}
    answer = await browser.post("/portal/audit/export/dicom", data=form)
    assert answer.text.splitlines() == ["dicom a0", "dicom a1", "dicom a2"]
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.xml"'
    assert world.records.asked[-1]["since"] == "2026-11-24T00:00:00+08:00"
    assert world.records.asked[-1]["until"] == "2026-11-25T00:00:00+08:00"


async def test_page_says_so_when_the_service_is_away_or_the_search_does_not_hold(world: Any) -> None:
    browser = await world.signed_in("auditor.region")
    world.records.away = True
    assert "cannot be reached" in (await browser.get("/portal/audit")).text
    wrong = await browser.post("/portal/audit/search", data={"csrf": world.csrf("auditor.region"), "study": "1.x"})
    assert wrong.status_code == 422
    assert "wrong form" in wrong.text


async def test_nobody_else_reads_it(world: Any) -> None:
    browser = await world.signed_in("doctor.community")
    assert (await browser.get("/portal/audit")).status_code == 403
    assert world.records.asked == []
