"""Cases as FHIR Task and ServiceRequest: what a hospital's own systems search and read; every answer is parsed."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.servicerequest import ServiceRequest
from fhir.resources.R4B.task import Task

from gateway.fhir.moments import fits_moment
from gateway.fhir.outcome import FhirError
from gateway.workitems.fake_cases import fake_case

BASE = "/fhir/R4"
ZONE = ZoneInfo("Asia/Shanghai")
IDS = {n: f"{n:032x}" for n in range(10)}


@pytest.fixture
def region(world: Any) -> Any:
    """Five cases in the boxes of the secondary hospital's expert."""
    expert = {"expert": "expert.secondary", "expert_name": "周敏", "expert_hospital": "secondary"}
    returned = {"at": "2026-11-25T01:00:00+00:00", "user": "u", "name": "n", "action": "return", "state": "returned",
                "reason": "请补充病史"}  # fmt: skip
    nobody = {"patient_id": "P-005", "resident_id": "", "name": "李四"}
    cases = [
        fake_case(1),
        fake_case(2, state="returned", urgency="emergency", timeline=[returned]),
        fake_case(3, state="reading", **expert, consultant_hospital="tertiary", parent_id=IDS[1]),
        fake_case(4, state="issued", **expert),
        fake_case(5, state="withdrawn", patient=nobody),
    ]
    world.desk.cases |= {one["id"]: one for one in cases}
    return world


def ris(world: Any, user: str = "expert.secondary") -> httpx.AsyncClient:
    return world.browser(Accept="application/fhir+json", Authorization=f"Bearer bearer-{user}")


async def found(world: Any, kind: str = "Task", **query: str) -> list[int]:
    """The numbers of the cases that a search finds."""
    answer = await ris(world).get(f"{BASE}/{kind}", params={name.replace("__", ":"): v for name, v in query.items()})
    assert answer.status_code == 200, answer.text
    bundle = Bundle.model_validate_json(answer.text)
    return [int(entry.resource.id, 16) for entry in bundle.entry or [] if entry.search.mode == "match"]


async def test_task_says_whose_work_it_is_and_how_far(region: Any) -> None:
    answer = await ris(region).get(f"{BASE}/Task/{IDS[3]}")
    task = Task.model_validate_json(answer.text)
    assert (task.status, task.businessStatus.coding[0].code, task.intent) == ("in-progress", "reading", "order")
    assert task.owner.identifier.value == "tertiary"
    assert (task.requester.identifier.value, task.requester.display) == ("community", "塘桥")
    assert task.focus.reference == f"ServiceRequest/{IDS[3]}"
    assert task.partOf[0].reference == f"Task/{IDS[1]}"
    assert task.input[0].valueReference.reference == "ImagingStudy/1.2.3"
    assert task.for_fhir.identifier.value == "R-1001"
    assert task.for_fhir.reference.startswith("Patient/")
    assert task.restriction.period.end == datetime(2026, 11, 25, 5, 30, tzinfo=UTC)
    done = Task.model_validate_json((await ris(region).get(f"{BASE}/Task/{IDS[4]}")).text)
    assert done.output[0].valueReference.reference == f"DiagnosticReport/{IDS[4]}"
    returned = Task.model_validate_json((await ris(region).get(f"{BASE}/Task/{IDS[2]}")).text)
    assert (returned.status, returned.statusReason.text, returned.priority) == ("on-hold", "请补充病史", "stat")
    assert returned.lastModified == datetime(2026, 11, 25, 1, tzinfo=UTC)


async def test_service_request_says_what_is_asked_and_why(region: Any) -> None:
    answer = await ris(region).get(f"{BASE}/ServiceRequest/{IDS[1]}")
    request = ServiceRequest.model_validate_json(answer.text)
    assert (request.status, request.intent, request.priority) == ("active", "order", "routine")
    assert request.identifier[0].value == "C-20261124-0001"
    assert [one.coding[0].code if one.coding else one.text for one in request.reasonCode] == ["R91.1", "咳嗽"]
    assert request.reasonCode[0].coding[0].system == "http://hl7.org/fhir/sid/icd-10"
    assert request.supportingInfo[0].reference == "ImagingStudy/1.2.1"
    assert request.supportingInfo[0].identifier.value == "urn:oid:1.2.1"
    assert request.subject.display == "张伟"
    assert request.performer[0].identifier.value == "secondary"
    assert "穿刺" in request.note[0].text
    gone = ServiceRequest.model_validate_json((await ris(region).get(f"{BASE}/ServiceRequest/{IDS[5]}")).text)
    assert (gone.status, gone.subject.identifier.system) == ("revoked", "urn:imaging:patient:community")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"status": "requested"}, [1]),
        ({"status": "requested,on-hold"}, [2, 1]),
        ({"status": "http://hl7.org/fhir/task-status|in-progress"}, [3]),
        ({"status": "unheard-of"}, []),
        ({"business-status": "reading"}, [3]),
        ({"priority": "stat"}, [2]),
        ({"owner": "Organization/secondary"}, [5, 4, 2, 1]),
        ({"owner__identifier": "urn:imaging:hospital|tertiary"}, [3]),
        ({"requester": "tertiary"}, []),
        ({"requester": "community", "status": "completed"}, [4]),
        ({"code": "fulfill"}, [5, 4, 3, 2, 1]),
        ({"code": "approve"}, []),
        ({"identifier": "urn:imaging:consult|C-20261124-0002"}, [2]),
        ({"focus": f"ServiceRequest/{IDS[4]}"}, [4]),
        ({"_id": f"{IDS[1]},{IDS[2]}"}, [2, 1]),
        ({"authored-on": "ge2026-11-24T14:30:00+08:00"}, [5, 4]),
        ({"authored-on": "2026-11-24"}, [5, 4, 3, 2, 1]),
        ({"authored-on": "gt2026-11-24"}, []),
        ({"_lastUpdated": "gt2026-11-24"}, [2]),
        ({"patient.identifier": "urn:imaging:resident|R-1001"}, [4, 3, 2, 1]),
        ({"patient.identifier": "urn:imaging:patient:community|P-005"}, [5]),
        ({"patient.identifier": "urn:imaging:resident|R-9"}, []),
        ({"_sort": "authored-on"}, [1, 2, 3, 4, 5]),
        ({"_sort": "-_lastUpdated", "_count": "1"}, [2]),
    ],
)
async def test_tasks_are_found_by(region: Any, query: dict[str, str], expected: list[int]) -> None:
    assert await found(region, **query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "active"}, [3, 1]),
        ({"status": "revoked"}, [5]),
        ({"performer__identifier": "urn:imaging:hospital|tertiary"}, [3]),
        ({"authored": "lt2026-11-24T12:00:00+08:00"}, [1]),
        ({"code": "urn:imaging:service|remote-consultation", "priority": "stat"}, [2]),
    ],
)
async def test_service_requests_are_found_by(region: Any, query: dict[str, str], expected: list[int]) -> None:
    assert await found(region, "ServiceRequest", **query) == expected


async def test_pages_are_linked_and_the_request_comes_along(region: Any) -> None:
    form = {"_count": "2", "_include": "Task:focus", "owner": "Organization/secondary"}
    first = Bundle.model_validate_json((await ris(region).post(f"{BASE}/Task/_search", data=form)).text)
    assert first.total == 4
    modes = [(entry.resource.get_resource_type(), entry.search.mode) for entry in first.entry]
    assert modes == [("Task", "match")] * 2 + [("ServiceRequest", "include")] * 2
    (following,) = [link.url for link in first.link if link.relation == "next"]
    second = Bundle.model_validate_json((await ris(region).get(following.removeprefix("http://portal.test"))).text)
    assert [int(entry.resource.id, 16) for entry in second.entry if entry.search.mode == "match"] == [2, 1]


async def test_open_work_alone_is_read_for_a_worklist(region: Any) -> None:
    await found(region, status="requested,ready")
    assert {params.get("state") for _, params in region.desk.asked} == {"submitted", "assigned"}


async def test_who_has_no_part_finds_nothing_and_is_told_why_not(region: Any) -> None:
    ehr = ris(region, "ehr-residents")
    assert Bundle.model_validate_json((await ehr.get(f"{BASE}/Task")).text).total == 0
    missing = await ris(region).get(f"{BASE}/Task/{'9' * 32}")
    assert (missing.status_code, OperationOutcome.model_validate_json(missing.text).issue[0].code) == (404, "not-found")
    bad = await ris(region).get(f"{BASE}/Task", params={"authored-on": "soon"})
    assert (bad.status_code, OperationOutcome.model_validate_json(bad.text).issue[0].code) == (400, "invalid")
    region.desk.away = True
    assert (await ris(region).get(f"{BASE}/ServiceRequest")).status_code == 503


async def test_metadata_names_both(region: Any) -> None:
    answer = await region.browser().get(f"{BASE}/metadata")
    statement = CapabilityStatement.model_validate_json(answer.text)
    resources = {resource.type: resource for resource in statement.rest[0].resource}
    assert {p.name for p in resources["Task"].searchParam} >= {"status", "owner", "patient", "authored-on"}
    assert resources["Task"].searchInclude == ["Task:focus"]
    assert {p.name: p.type for p in resources["ServiceRequest"].searchParam}["authored"] == "date"


async def test_consults_report_tells_its_version_and_gives_its_pdf(region: Any) -> None:
    region.add_study("1.2.1", resident_id="R-1001")
    report = {"id": "r", "author": "e", "author_name": "周敏", "version": 2, "findings": "所见", "impression": "结节",
              "issued_at": "2026-11-22T08:00:00+00:00", "outputs": {"pdf_sha256": "a" * 64}}  # fmt: skip
    study = {"study_uid": "1.2.1", "holder": "community"}
    region.consults.add(IDS[1], studies=[study], report=report, state="issued")
    doctor = ris(region, "doctor.community")
    answer = await doctor.get(f"{BASE}/DiagnosticReport/{IDS[1]}")
    told = DiagnosticReport.model_validate_json(answer.text)
    assert (told.status, told.meta.versionId) == ("amended", "2")
    assert told.basedOn[0].reference == f"ServiceRequest/{IDS[1]}"
    address = told.presentedForm[0].url
    assert address == f"http://portal.test{BASE}/Binary/{IDS[1]}.2"
    pdf = await doctor.get(address.removeprefix("http://portal.test"))
    assert (pdf.headers["content-type"], pdf.content) == ("application/pdf", b"%PDF-1.7")
    assert (await doctor.get(f"{BASE}/Binary/{IDS[9]}.1")).status_code == 404


async def test_ehr_gets_the_pdf_of_a_linked_residents_report_alone(region: Any) -> None:
    report = {"id": "r", "author": "e", "author_name": "周敏", "version": 1, "findings": "所见", "impression": "结节",
              "issued_at": "2026-11-22T08:00:00+00:00", "outputs": {"pdf_sha256": "a" * 64}}  # fmt: skip
    for n, resident in ((1, "R-1001"), (2, None)):
        region.add_study(f"1.2.{n}", resident_id=resident)
        study = {"study_uid": f"1.2.{n}", "holder": "community"}
        region.consults.add(IDS[n], studies=[study], report=report, state="issued")
    ehr = ris(region, "ehr-residents")
    assert (await ehr.get(f"{BASE}/Binary/{IDS[1]}.1")).content == b"%PDF-1.7"
    assert (await ehr.get(f"{BASE}/Binary/{IDS[2]}.1")).status_code == 404
    seen = [(record.action, record.outcome) for record in region.audited]
    assert seen == [("view", "success"), ("view", "denied")]


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("2026-11-24", True), ("ne2026-11-24", False), ("2026", True), ("2026-12", False), ("le2026-11-24", True),
        ("lt2026-11-24", False), ("gt2026-11-23", True), ("eb2026-11-25", True), ("sa2026-11-23", True),
        ("2026-11-24T10:30", True), ("2026-11-24T02:30:00Z", True), ("2026-11-24T10:31:00", False),
        ("ap2026-11-24", True), ("ge2026-11-24T10:30:00.001+08:00", False),
    ],
)  # fmt: skip
def test_moments_fit_as_fhir_compares_them(value: str, fits: bool) -> None:
    moment = datetime(2026, 11, 24, 2, 30, tzinfo=UTC)
    assert fits_moment(value, moment, ZONE, now=moment) is fits


@pytest.mark.parametrize("value", ["soon", "2026-13", "2026-11-24T25:00", "xx2026"])
def test_malformed_moment_is_told(value: str) -> None:
    with pytest.raises(FhirError):
        fits_moment(value, datetime(2026, 11, 24, tzinfo=UTC), ZONE)
