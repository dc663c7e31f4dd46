"""FHIR over fakes: an EHR's account reads linked studies, people what the access rule opens; every answer is parsed."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.operationoutcome import OperationOutcome

from gateway.fhir.names import report_id, report_of
from gateway.fhir.seal import PatientIds

BASE = "/fhir/R4"
KEY = "0f" * 16
RESIDENT = {"patient.identifier": "urn:imaging:resident|R-1001"}


@pytest.fixture
def region(world: Any) -> Any:
    """A resident with studies at two hospitals, and a stranger's."""
    today = f"{datetime.now(UTC):%Y%m%d}"
    world.add_study("1.2.1", resident_id="R-1001", study_date=today)
    world.add_study("1.2.2", holder="secondary", resident_id="R-1001", study_date="20250102", accession="B-1",
                    modalities=["MR"], body_parts=["HEAD"])  # fmt: skip
    world.add_study("1.2.3", resident_id="R-2")
    world.add_study("1.2.4")
    series = {"_id": "community/1.2.1/1.2.1.1", "study_key": "community/1.2.1", "study_uid": "1.2.1",
              "series_uid": "1.2.1.1", "holder": "community", "modality": "CT", "series_number": 2,
              "body_part": "CHEST", "instance_count": 120}  # fmt: skip
    world.reader.put("series", series)
    report = {
        "_id": f"community/{KEY}", "report": f"community/{KEY}", "hospital": "community", "report_key": KEY,
        "report_id": "RIS-7", "kind": "hl7-oru", "sha256": "a" * 64, "data_key": "k", "status": "final",
        "issued_at": datetime(2026, 11, 21, 8, tzinfo=UTC), "received_at": datetime(2026, 11, 21, 9, tzinfo=UTC),
        "study_key": "community/1.2.1", "matched": "accession", "title": "胸部 CT", "author": "李明",
        "findings": "两肺纹理清晰 <b>", "impression": "未见异常。", "attachments": [{"title": "报告.pdf"}],
    }  # fmt: skip
    world.reader.put("reports", report)
    return world


def ehr(world: Any, user: str = "ehr-residents") -> httpx.AsyncClient:
    return world.browser(Accept="application/fhir+json", Authorization=f"Bearer bearer-{user}")


def parsed(answer: httpx.Response) -> Any:
    assert answer.headers["content-type"] == "application/fhir+json"
    assert answer.status_code == 200, answer.text
    return Bundle.model_validate_json(answer.text)


def ids(bundle: Any) -> list[str]:
    return [entry.resource.id for entry in bundle.entry or [] if entry.search.mode == "match"]


async def test_metadata_states_version_and_searches_to_anybody(region: Any) -> None:
    answer = await region.browser().get(f"{BASE}/metadata")
    statement = CapabilityStatement.model_validate_json(answer.text)
    assert statement.fhirVersion == "4.3.0"
    resources = {resource.type: resource for resource in statement.rest[0].resource}
    assert {p.name for p in resources["ImagingStudy"].searchParam} >= {"patient", "modality", "bodysite", "started"}


async def test_ehr_reads_a_residents_linked_studies_of_all_hospitals_and_it_is_recorded(region: Any) -> None:
    form = {**RESIDENT, "_include": "ImagingStudy:endpoint"}
    bundle = parsed(await ehr(region).post(f"{BASE}/ImagingStudy/_search", data=form))
    assert ids(bundle) == ["1.2.1", "1.2.2"]
    study = bundle.entry[0].resource
    assert study.subject.identifier.value == "R-1001"
    assert study.series[0].bodySite.code == "51185008"
    assert study.started.utcoffset().total_seconds() == 8 * 3600
    assert {i.value for i in study.identifier} == {"urn:oid:1.2.1", "A-77"}
    codes = {entry.resource.connectionType.code for entry in bundle.entry if entry.search.mode == "include"}
    assert codes == {"dicom-wado-rs", "ihe-iid"}
    record = region.audited[-1]
    assert (record.action, record.user, record.resident_id, record.count) == ("search", "ehr-residents", "R-1001", 2)
    assert "R-1001" not in str([link.url for link in bundle.link])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"modality": "MR"}, ["1.2.2"]),
        ({"bodysite": "51185008"}, ["1.2.1"]),
        ({"bodysite": "chest,head"}, ["1.2.1", "1.2.2"]),
        ({"started": "ge2026"}, ["1.2.1"]),
        ({"started": "lt2026-01-01"}, ["1.2.2"]),
        ({"started": "2025-01"}, ["1.2.2"]),
        ({"started": "ne2025-01-02"}, ["1.2.1"]),
        ({"started": "gt2025-01-02T09:30:00+08:00"}, ["1.2.1"]),
        ({"started": "ge2025-01-02T09:30:00+08:00"}, ["1.2.1", "1.2.2"]),
        ({"identifier": "urn:dicom:uid|urn:oid:1.2.2"}, ["1.2.2"]),
        ({"identifier": "B-1"}, ["1.2.2"]),
        ({"_sort": "started"}, ["1.2.2", "1.2.1"]),
        ({"_count": "0"}, []),
    ],
)
async def test_search_narrows(region: Any, query: dict[str, str], found: list[str]) -> None:
    assert ids(parsed(await ehr(region).get(f"{BASE}/ImagingStudy", params={**RESIDENT, **query}))) == found


async def test_pages_are_linked_without_the_residents_id(region: Any) -> None:
    first = parsed(await ehr(region).get(f"{BASE}/ImagingStudy", params={**RESIDENT, "_count": "1"}))
    (following,) = [link.url for link in first.link if link.relation == "next"]
    assert first.total == 2
    second = parsed(await ehr(region).get(following.removeprefix("http://portal.test")))
    assert (ids(first), ids(second)) == (["1.2.1"], ["1.2.2"])


@pytest.mark.parametrize("path", ["ImagingStudy/1.2.4", "ImagingStudy/9.9", "ImagingStudy/x", "DiagnosticReport/no",
                                  "Patient/nobody", "Endpoint/none", "Observation/1"])  # fmt: skip
async def test_what_is_not_linked_or_not_there_is_not_found(region: Any, path: str) -> None:
    answer = await ehr(region).get(f"{BASE}/{path}")
    assert answer.status_code == 404
    assert OperationOutcome.model_validate_json(answer.text).issue[0].code == "not-found"


async def test_ehr_must_name_a_resident_and_a_bad_value_is_told(region: Any) -> None:
    assert (await ehr(region).get(f"{BASE}/ImagingStudy")).status_code == 403
    bad = await ehr(region).get(f"{BASE}/ImagingStudy", params={**RESIDENT, "started": "soon"})
    assert (bad.status_code, OperationOutcome.model_validate_json(bad.text).issue[0].code) == (400, "invalid")
    strict = {"Prefer": "handling=strict"}
    other = await ehr(region).get(f"{BASE}/ImagingStudy", params={**RESIDENT, "colour": "1"}, headers=strict)
    assert other.status_code == 400
    nobody = await region.browser(Accept="application/fhir+json").get(f"{BASE}/ImagingStudy")
    assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, "Bearer")
    assert OperationOutcome.model_validate_json(nobody.text).issue[0].code == "login"
    assert (await ehr(region).put(f"{BASE}/ImagingStudy/1.2.1")).status_code == 405


async def test_people_find_what_the_access_rule_opens(region: Any) -> None:
    doctor = ehr(region, "doctor.community")
    assert ids(parsed(await doctor.get(f"{BASE}/ImagingStudy", params=RESIDENT))) == ["1.2.1"]
    assert (await doctor.get(f"{BASE}/ImagingStudy/1.2.2")).status_code == 404
    browser = await region.signed_in()
    assert (await browser.get(f"{BASE}/ImagingStudy/1.2.1")).status_code == 200


async def test_reports_of_hospitals_and_consults_are_found_with_their_text(region: Any) -> None:
    study = {"study_uid": "1.2.2", "holder": "secondary"}
    written = {"id": "r", "author": "e", "author_name": "周敏", "version": 1, "findings": "所见", "impression": "结节",
               "issued_at": "2026-11-22T08:00:00+00:00", "positive": True}  # fmt: skip
    region.consults.add("c" * 32, studies=[study], report=written, state="issued")
    bundle = parsed(await ehr(region).get(f"{BASE}/DiagnosticReport", params=RESIDENT))
    consult, own = (entry.resource for entry in bundle.entry)
    assert (consult.conclusion, own.conclusion) == ("结节", "未见异常。")
    assert own.imagingStudy[0].reference == "ImagingStudy/1.2.1"
    assert "&lt;b&gt;" in own.text.div
    assert own.presentedForm[0].url == f"http://portal.test{BASE}/Binary/{own.id}.0"
    for report in (consult, own):
        one = await ehr(region).get(f"{BASE}/DiagnosticReport/{report.id}")
        assert one.json()["conclusion"] == report.conclusion
    doctor = ehr(region, "doctor.community")
    assert (await doctor.get(f"{BASE}/DiagnosticReport", params={"study": "1.2.2"})).json()["total"] == 0
    assert (await doctor.get(f"{BASE}/DiagnosticReport", params={"study": "1.2.1"})).json()["total"] == 1


async def test_recent_examinations_are_similar_recent_and_one_click_away(region: Any) -> None:
    asked = {**RESIDENT, "modality": "CT", "bodysite": "CHEST"}
    bundle = parsed(await ehr(region).post(f"{BASE}/ImagingStudy/$recent-examinations", data=asked))
    assert ids(bundle) == ["1.2.1"]
    assert bundle.entry[0].link[0].url.endswith("/viewer?StudyInstanceUIDs=1.2.1")
    assert region.audited[-1].reason == "recent-examinations"
    other = {**RESIDENT, "modality": "CT", "bodysite": "KNEE"}
    assert ids(parsed(await ehr(region).get(f"{BASE}/ImagingStudy/$recent-examinations", params=other))) == []
    body = {"resourceType": "Parameters", "parameter": [
        {"name": "patient.identifier", "valueIdentifier": {"system": "urn:imaging:resident", "value": "R-1001"}},
        {"name": "days", "valueInteger": 3650}]}  # fmt: skip
    everything = await ehr(region).post(f"{BASE}/ImagingStudy/$recent-examinations", json=body)
    assert ids(parsed(everything)) == ["1.2.1", "1.2.2"]


async def test_patient_is_identifiers_only_under_a_sealed_id(region: Any) -> None:
    bundle = parsed(await ehr(region).post(f"{BASE}/Patient/_search", data={"identifier": "R-1001"}))
    patient = bundle.entry[0].resource
    assert {i.value for i in patient.identifier} == {"R-1001", "P-001"}
    assert patient.name is None
    one = await ehr(region).get(f"{BASE}/Patient/{patient.id}")
    assert one.json()["id"] == patient.id
    reference = {"patient": f"Patient/{patient.id}"}
    assert ids(parsed(await ehr(region).get(f"{BASE}/ImagingStudy", params=reference))) == ["1.2.1", "1.2.2"]


def test_ids_fit_fhir_and_come_back() -> None:
    longest = report_id("h" * 32, KEY)
    assert len(longest) <= 59
    assert report_of(longest) == ("h" * 32, KEY)
    ids = PatientIds("s" * 32)
    sealed = ids.seal("330106199001011234")
    assert sealed is not None
    assert len(sealed) <= 64
    assert sealed.isalnum()
    assert ids.open(sealed) == "330106199001011234"
    assert PatientIds("t" * 32).open(sealed) is None
    assert ids.seal("R" * 25) is None
