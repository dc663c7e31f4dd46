"""The hospitals' reports in the portal: beside the images, searched, and matched by a person, over fakes."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from imaging_common.index.names import fold, parse_person_name
from imaging_common.objects.reports import report_key, report_object_key

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)
PDF = b"%PDF-1.4 <script>alert(1)</script>"
ORIGINAL = json.dumps(
    {
        "resourceType": "DiagnosticReport",
        "identifier": [{"value": "F7"}],
        "status": "final",
        "conclusion": "右肺结节",
        "presentedForm": [{"contentType": "application/pdf", "data": base64.b64encode(PDF).decode()}],
    }
).encode()
SHA = hashlib.sha256(ORIGINAL).hexdigest()
KEY = report_key("community", "F7")


def add_report(world: Any, *versions: tuple[str, str], study: str | None = "1.2.3", **more: Any) -> None:
    """(status, impression) from the oldest to the newest; the newest has the original."""
    identity = f"community/{KEY}"
    patient = {"id": "P-001", "issuer": "", "birth_date": "19700601", "sex": "M"}
    patient["name"] = parse_person_name("=张^伟").model_dump()
    world.store.objects["archive", report_object_key("community", KEY, SHA)] = ORIGINAL
    for number, (status, impression) in enumerate(versions, 1):
        sha256 = SHA if number == len(versions) else hashlib.sha256(impression.encode()).hexdigest()
        version = {
            "_id": f"{identity}/{sha256}", "report": identity, "hospital": "community", "report_key": KEY,
            "report_id": "F7", "kind": "fhir-diagnostic-report", "sha256": sha256,
            "data_key": report_object_key("community", KEY, sha256), "media_type": "application/fhir+json",
            "status": status, "issued_at": NOW + timedelta(hours=number), "received_at": NOW, "study_uid": None,
            "accession": "", "patient": patient, "title": "胸部CT平扫", "author": "周敏", "findings": "<b>两肺</b>清晰",
            "impression": impression, "attachments": [{"media_type": "application/pdf", "title": "", "length": 9}],
        }  # fmt: skip
        world.reader.put("report_versions", version)
    document = {
        **version, "_id": identity, "versions": len(versions), "matched": "uid" if study else "review",
        "study_key": f"community/{study}" if study else None, "search": fold(f"F7 张伟 {impression}"), **more,
    }  # fmt: skip
    world.reader.put("reports", document)


async def test_reports_stand_beside_the_images_with_their_versions(world: Any) -> None:
    world.add_study(report_count=1)
    add_report(world, ("final", "未见异常"), ("amended", "右肺结节"))
    browser = await world.signed_in()
    listed = await browser.get("/portal/studies")
    assert "/portal/studies/community/1.2.3/reports" in listed.text
    page = await browser.get("/portal/studies/community/1.2.3/reports")
    assert page.status_code == 200
    newest, former = page.text.split('data-testid="former-version"')
    assert "右肺结节" in newest
    assert "Corrected" in newest
    assert "未见异常" in former
    assert "&lt;b&gt;" in newest
    assert "StudyInstanceUIDs=1.2.3" in newest
    assert [(a.action, a.study_uid, a.holder) for a in world.audited[-1:]] == [("view", "1.2.3", "community")]


async def test_cancelled_report_stays_and_is_struck(world: Any) -> None:
    world.add_study(report_count=1)
    add_report(world, ("final", "未见异常"), ("cancelled", ""))
    page = await (await world.signed_in()).get("/portal/studies/community/1.2.3/reports")
    assert 'class="hospital-report cancelled"' in page.text


async def test_pdf_is_saved_and_has_no_rights(world: Any) -> None:
    world.add_study(report_count=1)
    add_report(world, ("final", "右肺结节"))
    browser = await world.signed_in()
    answer = await browser.get(f"/portal/reports/community/{KEY}/{SHA}/document/0")
    assert answer.content == PDF
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await browser.get(f"/portal/reports/community/{KEY}/{SHA}/original")).content == ORIGINAL
    assert (await browser.get(f"/portal/reports/community/{KEY}/{SHA}/document/1")).status_code == 404


async def test_report_is_seen_where_its_study_is_and_nowhere_else(world: Any) -> None:
    world.add_study(report_count=1)
    add_report(world, ("final", "右肺结节"))
    stranger = await world.signed_in("expert.secondary")
    for path in (
        "/portal/studies/community/1.2.3/reports",
        f"/portal/reports/community/{KEY}/{SHA}/document/0",
        f"/portal/reports/community/{KEY}/{SHA}/original",
        f"/portal/reports/review/community/{KEY}",
    ):
        assert (await stranger.get(path)).status_code == 404
    assert "右肺结节" not in (await stranger.get("/portal/reports")).text
    operator = await world.signed_in("operator.region")
    assert (await operator.get(f"/portal/reports/community/{KEY}/{SHA}/original")).status_code == 404
    assert (await operator.get("/portal/reports")).status_code == 403


@pytest.mark.parametrize(("words", "found"), [("结节", True), ("张伟 f7", True), ("结节 骨折", False), (".*", False)])
async def test_reports_are_found_by_words_names_and_numbers(world: Any, words: str, found: bool) -> None:
    world.add_study()
    add_report(world, ("final", "右肺结节"))
    browser = await world.signed_in()
    answer = await browser.post("/portal/reports/search", data={"csrf": world.csrf(), "words": words})
    assert answer.status_code == 200
    assert ('data-testid="report-row"' in answer.text) == found
    assert (world.audited[-1].action, world.audited[-1].reason) == ("search", "reports")


async def test_report_of_a_deleted_study_is_not_found(world: Any) -> None:
    world.add_study(deleted=True)
    add_report(world, ("final", "右肺结节"))
    assert "右肺结节" not in (await (await world.signed_in()).get("/portal/reports")).text


async def test_unmatched_report_waits_in_review_and_is_matched_by_a_person(world: Any) -> None:
    world.add_study("1.2.3")
    world.add_study("1.2.4", study_date="20200101")
    world.add_study("1.2.5", holder="secondary")
    add_report(world, ("final", "右肺结节"), study=None)
    operator = await world.signed_in("operator.region")
    csrf = world.csrf("operator.region")
    listed = await operator.get("/portal/reports/review")
    assert f"/portal/reports/review/community/{KEY}" in listed.text
    page = await operator.get(f"/portal/reports/review/community/{KEY}")
    assert page.text.index('data-study="1.2.3"') < page.text.index('data-study="1.2.4"')
    assert "1.2.5" not in page.text
    path = f"/portal/reports/review/community/{KEY}"
    foreign = await operator.post(path, data={"csrf": csrf, "revision": "0", "study_uid": "1.2.5"})
    assert foreign.status_code == 409
    assert world.statements.sent == []
    done = await operator.post(path, data={"csrf": csrf, "revision": "0", "study_uid": "1.2.3"})
    assert done.status_code == 303
    (event,) = world.statements.sent
    assert (event.hospital, event.report_key, event.study_uid, event.revision) == ("community", KEY, "1.2.3", 1)
    assert (world.audited[-1].action, world.audited[-1].study_uid) == ("link", "1.2.3")
    again = await operator.post(path, data={"csrf": csrf, "revision": "0", "study_uid": "none"})
    assert again.status_code == 409


async def test_own_hospitals_doctor_reviews_and_strangers_do_not(world: Any) -> None:
    add_report(world, ("final", "右肺结节"), study=None)
    own = await world.signed_in()
    assert "右肺结节" in (await own.get("/portal/reports/review")).text
    assert (await own.get(f"/portal/reports/community/{KEY}/{SHA}/document/0")).status_code == 200
    stranger = await world.signed_in("expert.secondary")
    assert "右肺结节" not in (await stranger.get("/portal/reports/review")).text
    assert (await stranger.get(f"/portal/reports/review/community/{KEY}")).status_code == 404
    auditor = await world.signed_in("auditor.region")
    assert (await auditor.get("/portal/reports/review")).status_code == 403


async def test_pdf_in_a_dicom_instance_is_taken_out_of_its_file(world: Any) -> None:
    uid, pdf_class = "1.2.3.9", "1.2.840.10008.5.1.4.1.1.104.1"
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.EncapsulatedDocument = pdf_class, uid, PDF
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    file = out.getvalue()
    world.store.objects["archive", "k.pack"] = file
    place = {"bucket": "archive", "key": "k.pack", "encoding": "original", "offset": 0, "length": len(file)}
    instance = {
        "_id": f"community/1.2.3/{uid}", "study_uid": "1.2.3", "series_uid": "1.2.3.8", "sop_instance_uid": uid,
        "sop_class_uid": pdf_class, "holder": "community", "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "sha256": hashlib.sha256(file).hexdigest(), "location": place | {"original_length": len(file)},
    }  # fmt: skip
    world.reader.put("instances", instance)
    world.add_study(report_count=1)
    add_report(world, ("final", ""), kind="dicom-pdf", sop_instance_uid=uid)
    for document in world.reader.collections["report_versions"].values():
        document |= {"kind": "dicom-pdf", "sop_instance_uid": uid, "study_uid": "1.2.3", "data_key": ""}
    browser = await world.signed_in()
    page = await browser.get("/portal/studies/community/1.2.3/reports")
    assert f"/portal/reports/community/{KEY}/{SHA}/document/0" in page.text
    assert "/original" not in page.text
    assert (await browser.get(f"/portal/reports/community/{KEY}/{SHA}/document/0")).content == PDF
