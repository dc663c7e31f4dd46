"""What the FHIR facade asks of the stores, on a real MongoDB; and the facade itself, in a whole region."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fhir.resources.R4B.bundle import Bundle

from consult.adapters.mongo_consults import MongoConsultStore
from consult.model import Consult, Report, State, Study
from consult.ports import Change
from imaging_common import mongo
from imaging_common.index.reports import ReportIndex
from imaging_common.messaging.outbox import Outbox
from imaging_common.settings import ServiceSettings
from imaging_native import ct
from imaging_native.asking import until
from imaging_native.region import Region
from imaging_native.session import portal_client
from imaging_native.story.ehr import token_of
from imaging_native.story.images import ImageScene

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
HERE = Study(study_uid="1.2.3", holder="community")


@pytest.fixture
async def client(servers: Any) -> AsyncIterator[Any]:
    client = mongo.connect(ServiceSettings(mongo_url=servers.mongodb.url("root")))
    yield client
    await client.close()


def case(n: int, *, issued: bool = True, study: Study = HERE) -> Consult:
    report = Report(id=f"r{n}", author="e", author_name="周敏", findings="f", impression="i",
                    issued_at=NOW if issued else None)  # fmt: skip
    return Consult(
        id=f"{n:032x}", number=f"C-20261124-{n:04d}", version=1, state=State.ISSUED, applicant="d",
        applicant_name="陈建国", applicant_hospital="community", consultant_hospital="secondary", studies=[study],
        purpose="p", created_at=NOW, submitted_at=NOW, timeline=[], report=report,
    )  # fmt: skip


async def test_issued_reports_are_found_by_study_and_holder(client: Any) -> None:
    name = f"consult-{uuid4().hex[:8]}"
    store = MongoConsultStore(client, name, Outbox(client[name]))
    await store.prepare()
    elsewhere = Study(study_uid="1.2.3", holder="tertiary")
    for one in (case(1), case(2), case(3, issued=False), case(4, study=elsewhere)):
        await store.commit([Change(None, one)])
    assert [one.number[-1] for one in await store.with_reports([HERE], None, 10)] == ["2", "1"]
    assert [one.number[-1] for one in await store.with_reports([], case(1).id, 10)] == ["1"]
    assert await store.with_reports([], case(3).id, 10) == []
    await client.drop_database(name)


async def test_hospital_reports_are_found_by_several_studies(client: Any) -> None:
    database = client[f"index-{uuid4().hex[:8]}"]
    for n in range(3):
        await database.reports.insert_one(
            {
                "_id": f"community/{n}", "report": f"community/{n}", "hospital": "community", "report_key": str(n),
                "report_id": str(n), "kind": "hl7-oru", "sha256": "a", "status": "final", "issued_at": NOW,
                "received_at": NOW, "study_key": f"community/1.{n}",
            }
        )  # fmt: skip
    found = await ReportIndex.on(database).of_studies(["community/1.0", "community/1.2"])
    assert {report.report_id for report in found} == {"0", "2"}
    await client.drop_database(database)


async def test_ehr_finds_what_a_resident_has_once_the_patient_is_linked(region: Region, tmp_path: Path) -> None:
    mark = secrets.token_hex(4)
    person = ct.Person(f"F-{mark}", f"Ren^{mark}=任^杰", "19700601", "M")
    series = await asyncio.to_thread(ct.write_series, tmp_path, slices=2, seed=secrets.randbelow(10**9), person=person)
    scene = ImageScene(region.state, tmp_path, 2)
    await scene.dcmsend(series.files)
    await scene.aclose()
    ehr = region.state["ehr"]["url"]
    resident = f"R-{mark}"
    asked = {"patient.identifier": f"urn:imaging:resident|{resident}", "modality": "CT", "bodysite": "CHEST"}
    async with httpx.AsyncClient(timeout=30) as http:
        token = await token_of(region.state, http)
        base = {"base_url": f"{region.portal}/fhir/R4", "headers": {"Authorization": f"Bearer {token}"}}
        async with httpx.AsyncClient(timeout=30, **base) as fhir:  # type: ignore[arg-type]
            new = {"id": resident, "name": "任杰", "birth_date": "1970-06-01", "sex": "M"}
            assert (await http.post(f"{ehr}/residents", data=new)).status_code == 303
            before = Bundle.model_validate_json((await fhir.post("/ImagingStudy/_search", data=asked)).text)
            assert before.total == 0
            link = {"hospital": "community", "patient_id": person.patient_id}
            assert (await http.post(f"{ehr}/residents/{resident}/links", data=link)).status_code == 303

            async def found() -> Any:
                answer = await fhir.post("/ImagingStudy/$recent-examinations", data=asked | {"days": "3650"})
                return Bundle.model_validate_json(answer.text).total

            await until(found, "the linked study by FHIR")
            one = await fhir.get(f"/ImagingStudy/{series.study_uid}")
            assert one.json()["series"][0]["bodySite"]["code"] == "51185008"
            reports = await fhir.post("/DiagnosticReport/_search", data={"patient.identifier": resident})
            assert reports.json()["total"] == 0
    stranger = await portal_client(region.state, "doctor.tcm")
    assert (await stranger.get(f"/fhir/R4/ImagingStudy/{series.study_uid}")).status_code == 404
    await stranger.aclose()
