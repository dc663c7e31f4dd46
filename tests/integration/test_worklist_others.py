"""A hospital's RIS lists the region's cases: FHIR Task and ServiceRequest, and UPS-RS, by its coordinator's account."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pydicom
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.servicerequest import ServiceRequest
from fhir.resources.R4B.task import Task
from pydicom.dataset import Dataset

from imaging_native import ct
from imaging_native.applications import IMPRESSION, Person, application, of_study, write
from imaging_native.asking import until
from imaging_native.distributed import fill_pacs, until_listed
from imaging_native.region import Region
from imaging_native.session import portal_client

SLICES = 2
ITEMS = "/dicomweb/workitems"


@asynccontextmanager
async def system_of(region: Region, person: Person) -> AsyncIterator[httpx.AsyncClient]:
    """A program at the gateway with somebody's token."""
    async with httpx.AsyncClient(base_url=region.portal, headers=person.headers, timeout=30) as client:
        yield client


async def in_archive(region: Region, folder: Path) -> ct.Series:
    """A study of the community hospital."""
    series = await asyncio.to_thread(ct.write_series, folder, slices=SLICES, seed=secrets.randbelow(10**9))
    await fill_pacs({**region.state["edges"]["community"], "dicomweb": ""}, series.files)
    doctor = await portal_client(region.state, "doctor.community")
    await until_listed(doctor, series.study_uid, SLICES)
    await doctor.aclose()
    return series


async def workitems(ris: httpx.AsyncClient, **keys: str) -> dict[str, Dataset]:
    """What the RIS finds, by UID."""
    answer = await ris.get(ITEMS, params=keys)
    assert answer.status_code in (200, 204, 206), answer.text
    found = [Dataset.from_json(item) for item in answer.json()] if answer.content else []
    return {str(item.SOPInstanceUID): item for item in found}


async def tasks(ris: httpx.AsyncClient, **query: str) -> dict[str, Task]:
    """What the RIS finds, by id."""
    answer = await ris.post("/fhir/R4/Task/_search", data=query)
    assert answer.status_code == 200, answer.text
    bundle = Bundle.model_validate_json(answer.text)
    return {entry.resource.id: entry.resource for entry in bundle.entry or [] if entry.search.mode == "match"}


async def test_received_case_stands_in_the_hospitals_worklist_until_it_is_reported(
    region: Region, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        people = ("doctor.community", "expert.secondary", "coordinator.secondary", "coordinator.tertiary")
        doctor, expert, coordinator, foreign = [
            await stack.enter_async_context(Person.signed_in(region, user)) for user in people
        ]
        ris = await stack.enter_async_context(system_of(region, coordinator))
        other = await stack.enter_async_context(system_of(region, foreign))
        series = await in_archive(region, tmp_path)
        head = pydicom.dcmread(series.files[0], stop_before_pixels=True)
        patient = {"patient_id": str(head.PatientID), "name": "王强", "sex": "M", "birth_date": "19660215"}
        studies = [of_study(series.study_uid, "community")]
        case = await doctor.apply(application(studies=studies, patient=patient, urgency="urgent"))
        uid = f"2.25.{int(case['id'], 16)}"

        scheduled = await workitems(ris, ProcedureStepState="SCHEDULED", InputReadinessState="READY", limit="1000")
        item = scheduled[uid]
        assert item.ScheduledStationNameCodeSequence[0].CodeValue == "secondary"
        assert item.ReferencedRequestSequence[0].StudyInstanceUID == series.study_uid
        assert (item.PatientID, item.PatientName.ideographic) == (head.PatientID, "王强")
        assert uid in await workitems(ris, **{"ReferencedRequestSequence.StudyInstanceUID": series.study_uid})
        assert uid not in await workitems(other, limit="1000")
        assert (await other.get(f"{ITEMS}/{uid}")).status_code == 404
        assert (await ris.put(f"{ITEMS}/{uid}/state")).status_code == 405

        task = (await tasks(ris, status="requested", _count="100"))[case["id"]]
        assert (task.owner.identifier.value, task.requester.identifier.value) == ("secondary", "community")
        request = ServiceRequest.model_validate_json((await ris.get(f"/fhir/R4/{task.focus.reference}")).text)
        assert (request.status, request.priority) == ("active", "urgent")
        assert request.reasonCode[0].coding[0].code == "R91.1"
        assert request.supportingInfo[0].reference == f"ImagingStudy/{series.study_uid}"
        assert (await other.get(f"/fhir/R4/Task/{case['id']}")).status_code == 404
        assert case["id"] not in await tasks(other, _count="100")

        case = await expert.act(await expert.act(case, "claim"), "read")
        one = await ris.get(f"{ITEMS}/{uid}")
        (reading,) = [Dataset.from_json(item) for item in one.json()]
        assert reading.ProcedureStepState == "IN PROGRESS"
        assert reading.ScheduledHumanPerformersSequence[0].HumanPerformerCodeSequence
        assert (await tasks(ris, status="in-progress", _count="100"))[case["id"]].lastModified

        await expert.act(await write(expert.client, expert.token, case), "issue")
        doctors = await stack.enter_async_context(system_of(region, doctor))

        async def printed() -> DiagnosticReport | None:
            answer = await doctors.get(f"/fhir/R4/DiagnosticReport/{case['id']}")
            report = DiagnosticReport.model_validate_json(answer.text)
            return report if report.presentedForm else None

        report: DiagnosticReport = await until(printed, "the report's PDF")
        assert (report.status, report.meta.versionId, report.conclusion) == ("final", "1", IMPRESSION)
        assert (await doctors.get(report.presentedForm[0].url)).content.startswith(b"%PDF-")
        task = (await tasks(ris, status="completed", identifier=case["number"]))[case["id"]]
        assert task.output[0].valueReference.reference == f"DiagnosticReport/{case['id']}"

        async def stored() -> Dataset | None:
            (item,) = [Dataset.from_json(one) for one in (await ris.get(f"{ITEMS}/{uid}")).json()]
            performed = item.UnifiedProcedureStepPerformedProcedureSequence[0]
            return item if performed.OutputInformationSequence else None

        assert (await until(stored, "the report in the centre")).ProcedureStepState == "COMPLETED"

        back = await doctor.apply(application(studies=studies))
        returned = await expert.act(back, "return", reason="请补充病史")
        waiting = await workitems(ris, InputReadinessState="INCOMPLETE", limit="1000")
        assert f"2.25.{int(returned['id'], 16)}" in waiting
        await doctor.act(returned, "withdraw", reason="不再需要")
        canceled = await ris.get(f"{ITEMS}/2.25.{int(back['id'], 16)}")
        assert Dataset.from_json(canceled.json()[0]).ProcedureStepState == "CANCELED"
        ended = (await tasks(ris, status="cancelled", _count="100"))[back["id"]]
        assert ended.statusReason.text == "不再需要"
