"""The life of a study on the real servers: brought early, evicted, brought back, deleted, restored, moved to a tier."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pydicom
import pytest
from pydantic import SecretStr
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from imaging_common.events import HospitalRegistered, PatientLinked, StudyChanged
from imaging_common.messaging import KafkaPublisher
from imaging_common.messaging.cloudevents import read_envelope, read_event
from imaging_common.objects.store import MinioObjectStore
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import read_all
from imaging_native import ct
from imaging_native.applications import Case, Person, application, of_study
from imaging_native.asking import until
from imaging_native.distributed import (
    ANY_FRAME,
    compare_frame,
    fill_pacs,
    frame_url,
    listed,
    retrieve_study,
    until_listed,
)
from imaging_native.ehr_says import say_as_ehr
from imaging_native.region import HOSPITALS, Region
from imaging_native.session import portal_client

SLICES = 4
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
CONCLUSION = "诊断意见：右肺下叶实性结节，建议三个月后复查。"
PDF = b"%PDF-1.4\n1 0 obj<<>>endobj\n%%EOF\n"
SignIn = Callable[[str], Any]


@pytest.fixture
async def sign_in(region: Region) -> AsyncIterator[SignIn]:
    """Signs people in; their clients are closed in the end."""
    clients: list[httpx.AsyncClient] = []

    async def one(user: str) -> httpx.AsyncClient:
        clients.append(await portal_client(region.state, user))
        return clients[-1]

    yield one
    for client in clients:
        await client.aclose()


def write(folder: Path, slices: int = SLICES, person: ct.Person = ct.WANG) -> ct.Series:
    """A study that nobody has seen."""
    return ct.write_series(folder / secrets.token_hex(4), slices=slices, seed=secrets.randbelow(10**9), person=person)


async def in_pacs(
    region: Region, hospital: str, doctor: httpx.AsyncClient, folder: Path, slices: int = SLICES
) -> ct.Series:
    """A study that lies in the hospital's PACS and is listed."""
    series = await asyncio.to_thread(write, folder, slices)
    await fill_pacs(region.state["pacs"][hospital], series.files)
    row = await until_listed(doctor, series.study_uid, slices)
    assert row["00080056"]["Value"] == ["NEARLINE"]
    return series


async def in_archive(region: Region, doctor: httpx.AsyncClient, folder: Path) -> ct.Series:
    """A study of the central tier, packed."""
    series = await asyncio.to_thread(write, folder)
    await fill_pacs({**region.state["edges"]["community"], "dicomweb": ""}, series.files)
    await until_listed(doctor, series.study_uid, SLICES)

    async def packed() -> bool:
        return await objects(region, "archive", "community", series) >= 2

    await until(packed, "the study in the archive")
    return series


async def objects(region: Region, bucket: str, holder: str, series: ct.Series) -> int:
    """How many objects a bucket holds of a study's images; catalogues stay."""
    minio = region.state["minio"]
    store = MinioObjectStore(
        ServiceSettings(
            minio_endpoint=minio["endpoint"],
            minio_access_key=minio["access_key"],
            minio_secret_key=SecretStr(minio["secret_key"]),
        )
    )
    entries = [entry async for entry in store.list(bucket, f"{holder}/{series.study_uid}/")]
    return len([entry for entry in entries if not entry.key.endswith(".catalogue")])


async def until_available(doctor: httpx.AsyncClient, series: ct.Series, wanted: str) -> None:
    """Wait until QIDO-RS states this Instance Availability."""

    async def stated() -> bool:
        row = await listed(doctor, series.study_uid)
        return row is not None and row["00080056"]["Value"] == [wanted]

    await until(stated, f"the study to be {wanted}")


@asynccontextmanager
async def settings(region: Region, process: str, **changed: object) -> AsyncIterator[None]:
    """A service runs with other settings for a while."""
    prefix = "EDGE_AGENT_" if process.startswith("edge-agent-") else f"{process.upper().replace('-', '_')}_"
    service = region.processes[process]

    async def start_with(values: dict[str, str]) -> None:
        await service.stop()
        service.extra_env = values
        await service.start()

    try:
        await start_with({prefix + name.upper(): str(value) for name, value in changed.items()})
        yield
    finally:
        await start_with({})


@asynccontextmanager
async def case_of(region: Region, holder: str, study_uid: str) -> AsyncIterator[tuple[Person, Case]]:
    """A case about a study, asked of the secondary hospital by a doctor of its holder."""
    body = application(studies=[of_study(study_uid, holder)])
    async with Person.signed_in(region, f"doctor.{holder}") as applicant:
        yield applicant, await applicant.apply(body)


def value_of(name: str, page: str) -> str:
    """A hidden field of the first form that has it."""
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def kafka_settings(region: Region, principal: str) -> ServiceSettings:
    state = region.state["kafka"]
    return ServiceSettings(
        kafka_bootstrap=state["bootstrap"],
        kafka_username=principal,
        kafka_password=SecretStr(state["users"][principal]),
    )


async def changes_of(region: Region, series: ct.Series) -> list[StudyChanged]:
    """What was said of a study, in order."""
    records = await read_all(kafka_settings(region, "gateway"), "study-changed")
    found = [read_event(record, read_envelope(record)) for record in records]
    return [one for one in found if isinstance(one, StudyChanged) and one.study_uid == series.study_uid]


async def test_evicted_study_stays_listed_and_comes_back(region: Region, sign_in: SignIn, tmp_path: Path) -> None:
    """Not one that a case needs, before the case ends; and no original."""
    doctor, community = await sign_in("doctor.tertiary"), await sign_in("doctor.community")
    original = await in_archive(region, community, tmp_path)
    pinned, plain = [await in_pacs(region, "tertiary", doctor, tmp_path) for _ in range(2)]
    for series in (pinned, plain):
        assert len((await retrieve_study(doctor, series.study_uid)).pixels) == SLICES
        await until_available(doctor, series, "ONLINE")
    async with case_of(region, "tertiary", pinned.study_uid) as (applicant, case):
        ledger = region.client("root")["objects"]["cache_studies"]

        async def pins() -> bool:
            return bool(await ledger.find_one({"_id": f"tertiary/{pinned.study_uid}", "pins.0": {"$exists": True}}))

        await until(pins, "the pin")
        tight = {"cache_bytes": 1, "cache_seconds": 0.2, "cache_in_use_seconds": 0, "cache_arriving_seconds": 0}
        async with settings(region, "object-writer", **tight):
            await until_available(doctor, plain, "NEARLINE")
            row = await listed(doctor, plain.study_uid)
            assert row is not None
            assert row["00201208"]["Value"] == [SLICES]

            async def removed() -> bool:
                return await objects(region, "cache", "tertiary", plain) == 0

            await until(removed, "its objects' removal")
            assert await objects(region, "cache", "tertiary", pinned) > 0
            row = await listed(doctor, pinned.study_uid)
            assert row is not None
            assert row["00080056"]["Value"] == ["ONLINE"]
            assert (await applicant.act(case, "withdraw"))["state"] == "withdrawn"
            await until_available(doctor, pinned, "NEARLINE")
    for file in plain.files:
        await compare_frame(doctor, plain, file)
    await compare_frame(doctor, pinned, pinned.files[0])
    await until_available(doctor, plain, "ONLINE")
    assert await objects(region, "archive", "community", original) >= 2
    await compare_frame(community, original, original.files[0])


async def test_deleted_study_is_out_of_sight_and_comes_back_restored(
    region: Region, sign_in: SignIn, tmp_path: Path
) -> None:
    doctor, operator = await sign_in("doctor.community"), await sign_in("operator.region")
    series = await in_archive(region, doctor, tmp_path)
    token = value_of("csrf", (await operator.get("/portal/removal")).text)
    search = {"csrf": token, "words": series.study_uid}

    async def command(action: str, **more: str) -> None:
        page = (await operator.post("/portal/removal/search", data=search)).text
        revision = re.search(r'name="revision" value="(\d+)"', page.partition(f'data-study="{series.study_uid}"')[2])
        assert revision is not None
        form = {**search, "holder": "community", "study_uid": series.study_uid, "revision": revision[1], **more}
        answer = await operator.post(f"/portal/removal/{action}", data=form)
        assert answer.status_code == 200
        stale = await operator.post(f"/portal/removal/{action}", data=form)
        assert stale.status_code == 409

    await command("delete", reason="113001")

    async def hidden() -> bool:
        return await listed(doctor, series.study_uid) is None

    await until(hidden, "the deleted study out of sight")
    answer = await doctor.get(frame_url(series, series.files[0]), headers={"Accept": ANY_FRAME})
    assert answer.status_code == 404
    await command("restore")
    await until_listed(doctor, series.study_uid, SLICES)
    for file in series.files:
        await compare_frame(doctor, series, file)
    said = [one.deleted for one in await changes_of(region, series)]
    assert True in said
    assert not said[-1]


async def test_application_warms_the_cache_before_anybody_looks(
    region: Region, sign_in: SignIn, tmp_path: Path
) -> None:
    doctor = await sign_in("doctor.tertiary")
    series = await in_pacs(region, "tertiary", doctor, tmp_path)
    async with case_of(region, "tertiary", series.study_uid):
        await until_available(doctor, series, "ONLINE")
    retrieval = await region.client("root")["gateway"]["retrievals"].find_one({"_id": f"tertiary/{series.study_uid}"})
    assert retrieval is not None
    assert retrieval["priority"] == 5


async def ehr_token(region: Region) -> str:
    async with httpx.AsyncClient(timeout=10) as client:
        answer = await client.post(
            f"{region.state['issuer']}/protocol/openid-connect/token",
            data={"grant_type": "client_credentials", **region.state["ehr"]},
        )
        answer.raise_for_status()
    return str(answer.json()["access_token"])


async def test_opened_record_warms_the_cache(region: Region, sign_in: SignIn, tmp_path: Path) -> None:
    doctor, mark = await sign_in("doctor.tcm"), uuid4().hex[:8]
    person = ct.Person(f"Z-{mark}", "Qian^Guoqing=钱^国庆", "19491001", "M")
    series = await asyncio.to_thread(write, tmp_path, SLICES, person)
    await fill_pacs(region.state["pacs"]["tcm"], series.files)
    await until_listed(doctor, series.study_uid, SLICES)
    link = PatientLinked(hospital="tcm", patient_id=person.patient_id, resident_id=f"R-{mark}", revision=1)
    await say_as_ehr(region, "patient-linked", link, person.patient_id)
    studies = region.client("root")["index"]["studies"]

    async def linked() -> bool:
        return bool(await studies.find_one({"_id": f"tcm/{series.study_uid}", "resident_id": f"R-{mark}"}))

    await until(linked, "the link")
    path = f"/ehr/records/R-{mark}/opened"
    assert (await doctor.post(path)).status_code == 403
    headers = {"Authorization": f"Bearer {await ehr_token(region)}"}
    async with httpx.AsyncClient(base_url=region.portal, headers=headers, timeout=30) as ehr:
        assert (await ehr.post(path)).status_code == 202
        assert (await ehr.get(frame_url(series, series.files[0]))).status_code in (403, 404)
    await until_available(doctor, series, "ONLINE")


async def test_retrieval_is_cancelled_when_its_last_viewer_leaves(
    region: Region, sign_in: SignIn, tmp_path: Path
) -> None:
    """Two viewers, each at another copy of the gateway, share it; over a thin line it would last for minutes."""
    doctor = await sign_in("doctor.tertiary")
    series = await in_pacs(region, "tertiary", doctor, tmp_path, slices=20)
    retrievals = region.client("root")["gateway"]["retrievals"]
    key = {"_id": f"tertiary/{series.study_uid}"}
    async with settings(region, "edge-agent-tertiary", retrieve_bytes_per_second=60_000):
        await until_available(doctor, series, "NEARLINE")
        viewers = [
            asyncio.create_task(doctor.get(f"{gateway}/dicomweb/studies/{series.study_uid}", timeout=200))
            for gateway in region.state["gateways"]
        ]
        assert len(viewers) == 2

        async def shared() -> Any:
            found = await retrievals.find_one(key)
            return found if found and len(found["leases"]) == 2 and found["state"] in ("queued", "running") else None

        before = await until(shared, "one retrieval of two viewers")
        for viewer in viewers:
            viewer.cancel()
        await asyncio.gather(*viewers, return_exceptions=True)

        async def cancelled() -> Any:
            found = await retrievals.find_one(key)
            return found if found and found["state"] == "cancelled" else None

        after = await until(cancelled, "the end of the retrieval")
        assert after["retrieval_id"] == before["retrieval_id"]
        assert after["done"] < len(series.files)
        edge = region.state["edges"]["tertiary"]["http"]

        async def idle() -> bool:
            async with httpx.AsyncClient(timeout=10) as client:
                status = (await client.get(f"{edge}/status")).json()["retrievals"]
            return not status["running"] and "cancelled" in status["states"]

        await until(idle, "the hospital's agent to stop")
    await until_available(doctor, series, "NEARLINE")
    assert len((await retrieve_study(doctor, series.study_uid)).pixels) == len(series.files)


def document(series: ct.Series, sop_class: str, number: int) -> Dataset:
    """A document of the study, in a series of its own."""
    image = pydicom.dcmread(series.files[0], stop_before_pixels=True)
    ds = Dataset()
    for name in ("SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate",
                 "StudyTime", "AccessionNumber", "StudyInstanceUID", "StudyID"):  # fmt: skip
        setattr(ds, name, getattr(image, name))
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, ct.uid(series.study_uid, "document", number)
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = ct.uid(series.study_uid, "series", number), number, 1
    ds.ContentDate, ds.ContentTime = "20261121", f"1015{number % 60:02d}"
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    return ds


def code(value: str, scheme: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds


def documents(series: ct.Series) -> list[Path]:
    """An encapsulated PDF (PS3.3 A.45.1) and a verified Basic Text SR (A.35.1), as files."""
    pdf = document(series, EncapsulatedPDFStorage, 90)
    pdf.Modality, pdf.DocumentTitle, pdf.BurnedInAnnotation = "DOC", "出院影像报告", "YES"
    pdf.MIMETypeOfEncapsulatedDocument, pdf.EncapsulatedDocument = "application/pdf", PDF
    pdf.EncapsulatedDocumentLength = len(PDF)
    text = Dataset()
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", CONCLUSION
    text.ConceptNameCodeSequence = [code("121077", "DCM", "Conclusion")]
    report = document(series, BASIC_TEXT_SR, 91)
    report.Modality, report.ValueType, report.ContinuityOfContent = "SR", "CONTAINER", "SEPARATE"
    report.CompletionFlag, report.VerificationFlag = "COMPLETE", "VERIFIED"
    report.ConceptNameCodeSequence = [code("18748-4", "LN", "Diagnostic Imaging Report")]
    report.ContentSequence = [text]
    paths = []
    for dataset in (pdf, report):
        paths.append(series.folder / f"{dataset.Modality}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


async def test_documents_in_the_pacs_are_reports_of_their_study(
    region: Region, sign_in: SignIn, tmp_path: Path
) -> None:
    doctor = await sign_in("doctor.tertiary")
    series = await asyncio.to_thread(write, tmp_path)
    pacs = region.state["pacs"]["tertiary"]
    sent = await asyncio.to_thread(documents, series)
    await fill_pacs(pacs, [*series.files, *sent])
    await until_listed(doctor, series.study_uid, SLICES + len(sent))
    page = f"/portal/studies/tertiary/{series.study_uid}/reports"

    async def beside() -> str:
        answer = await doctor.get(page)
        return answer.text if answer.status_code == 200 and answer.text.count('data-testid="report"') == 2 else ""

    shown = await until(beside, "both reports beside the images")
    assert CONCLUSION in shown
    assert "出院影像报告" in shown
    (link,) = re.findall(r'href="([^"]+)" download data-testid="report-document"', shown)
    opened = await doctor.get(link, timeout=60)
    assert opened.status_code == 200
    assert opened.content.rstrip(b"\0") == PDF


async def register(region: Region, hospital: str, tier: str) -> None:
    """The registry says which tier a hospital is in now; everybody follows."""
    policies: Any = region.client("root")["index"]["hospitals"]
    revision = int((await policies.find_one({"_id": hospital}))["revision"]) + 1
    event = HospitalRegistered.model_validate(
        {"hospital": hospital, "revision": revision, "tier": tier, **HOSPITALS[hospital]}
    )
    publisher = KafkaPublisher("gateway", kafka_settings(region, "gateway"))
    try:
        await publisher.publish("hospital-registered", event, hospital)
    finally:
        await publisher.stop()
    writer: Any = region.client("root")["objects"]["policies"]

    async def heard() -> bool:
        async with httpx.AsyncClient(timeout=10) as client:
            status = (await client.get(f"{region.state['edges'][hospital]['http']}/status")).json()
        agent = status["retrievals"]["migration"].get("tier")
        index = (await policies.find_one({"_id": hospital}))["tier"]
        return {agent, index, (await writer.find_one({"_id": hospital}))["tier"]} == {tier}

    await until(heard, f"everybody to hear that {hospital} is {tier}")


async def test_history_moves_to_the_central_tier_without_a_broken_link(
    region: Region, sign_in: SignIn, tmp_path: Path
) -> None:
    """The last one here: it changes a hospital's tier, and changes it back."""
    doctor = await sign_in("doctor.tcm")
    seen, unseen = [await in_pacs(region, "tcm", doctor, tmp_path) for _ in range(2)]
    await compare_frame(doctor, seen, seen.files[0])
    studies = region.client("root")["index"]["studies"]
    try:
        await register(region, "tcm", "central")

        async def moved() -> bool:
            await compare_frame(doctor, seen, seen.files[0])
            for series in (seen, unseen):
                study = await studies.find_one({"_id": f"tcm/{series.study_uid}"})
                if study is None or (study["tier"], study["stored_count"]) != ("central", SLICES):
                    return False
            return True

        await until(moved, "both studies in the central tier")
        for series in (seen, unseen):
            assert await objects(region, "archive", "tcm", series) >= 2
            for file in series.files:
                await compare_frame(doctor, series, file)
            row = await until_listed(doctor, series.study_uid, SLICES)
            assert (row["00080056"]["Value"], row["00080054"]["Value"]) == (["ONLINE"], ["tcm"])
            assert (await changes_of(region, series))[-1].tier == "central"
        retrievals = region.client("root")["gateway"]["retrievals"]
        assert await retrievals.find_one({"_id": f"tcm/{unseen.study_uid}"}) is None
    finally:
        await register(region, "tcm", "distributed")
    await compare_frame(doctor, unseen, unseen.files[0])
    later = await in_pacs(region, "tcm", doctor, tmp_path)
    await compare_frame(doctor, later, later.files[0])
