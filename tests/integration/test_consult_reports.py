"""An issued report over the real servers: printed, filed in the study, in the applicant's PACS, checked by its code."""

import asyncio
import hashlib
import secrets
from contextlib import AsyncExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydantic import SecretStr

from imaging_common.events import ReportDelivered
from imaging_common.messaging.cloudevents import read_envelope, read_event
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import read_all
from imaging_native import ct
from imaging_native.applications import IMPRESSION, REPORT, Case, Person, application, of_study, write
from imaging_native.asking import parts, until
from imaging_native.distributed import fill_pacs, until_listed
from imaging_native.region import Region
from imaging_native.session import portal_client
from imaging_native.tokens import program_token

SLICES = 2
PDF, KEYS = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.88.59"
JSON = {"Accept": "application/dicom+json"}
Version = dict[str, Any]


async def study_at(region: Region, hospital: str, folder: Path) -> ct.Series:
    """A study of the hospital: in its PACS, or by its edge agent in the centre."""
    series = await asyncio.to_thread(ct.write_series, folder, slices=SLICES, seed=secrets.randbelow(10**9))
    target = region.state["pacs"].get(hospital) or {**region.state["edges"][hospital], "dicomweb": ""}
    await fill_pacs(target, series.files)
    doctor = await portal_client(region.state, f"doctor.{hospital}")
    await until_listed(doctor, series.study_uid, SLICES)
    await doctor.aclose()
    return series


def with_key_image(series: ct.Series, hospital: str) -> dict[str, Any]:
    """A report that points at the first slice."""
    head = pydicom.dcmread(series.files[0], stop_before_pixels=True)
    image = {
        "study_uid": series.study_uid,
        "holder": hospital,
        "series_uid": str(head.SeriesInstanceUID),
        "instance_uid": str(head.SOPInstanceUID),
        "note": "右肺结节",
    }
    return {**REPORT, "key_images": [image]}


async def delivered(person: Person, case: Case, version: int) -> Version:
    """The version, once its objects lie in the applicant's PACS."""

    async def there() -> Version | None:
        answer = await person.client.get(f"/consults/{case['id']}/reports/{version}", headers=person.headers)
        found: Version = answer.raise_for_status().json()
        assert not found["outputs"]["failure"], found["outputs"]
        return found if found["outputs"]["delivery"] == "stored" else None

    found: Version = await until(there, f"version {version} in the applicant's PACS")
    return found


async def listed(doctor: httpx.AsyncClient, hospital: str, study_uid: str) -> dict[str, str]:
    """What the gateway lists in the study: SOP class by SOP Instance UID."""
    url = f"/dicomweb/hospitals/{hospital}/studies/{study_uid}/instances"
    rows = (await doctor.get(url, headers=JSON)).raise_for_status().json()
    return {row["00080018"]["Value"][0]: row["00080016"]["Value"][0] for row in rows}


async def in_pacs(region: Region, hospital: str, study_uid: str) -> set[str]:
    """What the hospital's PACS, or its reading station, lists in the study."""
    pacs = {**region.archives, **region.pacs}[hospital]
    async with httpx.AsyncClient(timeout=30) as http:
        answer = await http.get(f"{pacs.dicomweb_url}/studies/{study_uid}/instances", headers=JSON)
    return {str(row["00080018"]["Value"][0]) for row in (answer.json() if answer.status_code == 200 else [])}


async def told(region: Region, case: Case) -> list[tuple[int, str]]:
    """Every `ReportDelivered` of the case: version and outcome."""
    state = region.state["kafka"]
    settings = ServiceSettings(
        kafka_bootstrap=state["bootstrap"],
        kafka_username="notification",
        kafka_password=SecretStr(state["users"]["notification"]),
    )
    events = [read_event(record, read_envelope(record)) for record in await read_all(settings, "report-changed")]
    mine = [one for one in events if isinstance(one, ReportDelivered) and one.consult_id == case["id"]]
    return [(one.report_version, one.outcome) for one in mine]


async def check_objects(doctor: httpx.AsyncClient, hospital: str, series: ct.Series, outputs: Version) -> None:
    """Both objects are in the study, of its patient, and the Encapsulated PDF holds the PDF that was printed."""
    found = await listed(doctor, hospital, series.study_uid)
    assert found[outputs["pdf_instance_uid"]] == PDF
    assert found[outputs["key_objects_instance_uid"]] == KEYS
    url = f"/dicomweb/hospitals/{hospital}/studies/{series.study_uid}"
    rows = (await doctor.get(f"{url}/series?Modality=DOC", headers=JSON)).raise_for_status().json()
    place = f"{url}/series/{rows[0]['0020000E']['Value'][0]}/instances/{outputs['pdf_instance_uid']}"
    answer = await doctor.get(place, headers={"Accept": 'multipart/related; type="application/dicom"'})
    (file,) = [part async for part in parts(answer.raise_for_status())]
    dataset = pydicom.dcmread(BytesIO(file))
    head = pydicom.dcmread(series.files[0], stop_before_pixels=True)
    assert (dataset.PatientID, str(dataset.PatientName)) == (head.PatientID, str(head.PatientName))
    pdf = dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength]
    assert hashlib.sha256(pdf).hexdigest() == outputs["pdf_sha256"]


@pytest.mark.parametrize("hospital", ["community", "tertiary"])
async def test_report_is_printed_filed_delivered_verified_and_amended(
    region: Region, tmp_path: Path, hospital: str
) -> None:
    series = await study_at(region, hospital, tmp_path)
    text = with_key_image(series, hospital)
    async with AsyncExitStack() as stack:
        doctor, expert, stranger = [
            await stack.enter_async_context(Person.signed_in(region, user))
            for user in (f"doctor.{hospital}", "expert.secondary", "doctor.tcm")
        ]
        portal = await portal_client(region.state, f"doctor.{hospital}")
        stack.push_async_callback(portal.aclose)
        case = await doctor.apply(application(studies=[of_study(series.study_uid, hospital)]))
        case = await expert.to_issued(case, text)
        first = await delivered(doctor, case, 1)

        for person, status in ((doctor, 200), (expert, 200), (stranger, 404)):
            answer = await person.client.get(f"/consults/{case['id']}/reports/1/pdf", headers=person.headers)
            assert answer.status_code == status
        pdf = await doctor.client.get(f"/consults/{case['id']}/reports/1/pdf", headers=doctor.headers)
        assert hashlib.sha256(pdf.content).hexdigest() == first["outputs"]["pdf_sha256"]
        assert pdf.content.startswith(b"%PDF-")
        assert b"/Subtype /Image" in pdf.content
        await check_objects(portal, hospital, series, first["outputs"])
        made = {first["outputs"]["pdf_instance_uid"], first["outputs"]["key_objects_instance_uid"]}
        assert made <= await in_pacs(region, hospital, series.study_uid)
        assert await told(region, case) == [(1, "stored")]
        shown = await doctor.read(case["id"])
        assert shown["report"]["outputs"] == first["outputs"]
        assert shown["version"] == case["version"]

        case = await expert.act(await expert.read(case["id"]), "amend", reason="左右写反")
        case = await write(expert.client, expert.token, case, {**text, "impression": "左肺结节"})
        case = await expert.act(case, "issue")
        second = await delivered(doctor, case, 2)
        assert second["outputs"]["pdf_instance_uid"] not in made
        assert second["outputs"]["pdf_instance_uid"] in await in_pacs(region, hospital, series.study_uid)
        path = f"/consults/{case['id']}/reports/1/difference/2"
        difference = (await doctor.client.get(path, headers=doctor.headers)).raise_for_status().json()
        assert [one["field"] for one in difference["fields"] if one["changed"]] == ["impression"]
        kept = (await doctor.client.get(f"/consults/{case['id']}/reports/1", headers=doctor.headers)).json()
        assert kept["impression"] == IMPRESSION
        for report, superseded in ((first, True), (second, False)):
            answer = await doctor.client.get(f"/consults/verify/{report['verification_code']}")
            assert answer.json()["superseded"] is superseded
            assert (answer.json()["number"], answer.json()["hospital"]) == (case["number"], "secondary")
        unknown = await doctor.client.get(f"/consults/verify/{'0' * 20}")
        assert unknown.status_code == 404


async def test_consult_service_sees_the_studies_of_issued_reports_and_no_others(region: Region, tmp_path: Path) -> None:
    series = await study_at(region, "community", tmp_path)
    token = await program_token(region.state["issuer"], "consult-service", region.client_secret("consult-service"))
    bearer = {**JSON, "Authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(base_url=region.state["portal"], timeout=30) as http,
        Person.signed_in(region, "doctor.community") as doctor,
        Person.signed_in(region, "expert.secondary") as expert,
    ):
        url = f"/dicomweb/hospitals/community/studies/{series.study_uid}/series"

        async def sees() -> bool:
            answer = await http.get(url, headers=bearer)
            return answer.status_code == 200

        case = await doctor.apply(application(studies=[of_study(series.study_uid, "community")]))
        assert not await sees()
        case = await expert.to_issued(case)
        await doctor.act(case, "acknowledge")
        await until(sees, "the study of the issued report")
        assert (await delivered(doctor, case, 1))["outputs"]["key_objects_instance_uid"] == ""
