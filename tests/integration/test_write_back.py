"""Reports of consults come back into real PACSs, once and with a receipt, and are never announced as their own."""

import asyncio
import hashlib
import io
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pydicom
import pytest
from minio import Minio
from pydantic import SecretStr
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
    generate_uid,
)
from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from gateway.adapters.ingest import HttpInstanceStore, ServiceToken
from imaging_common.events import (
    Event,
    ManifestEntry,
    ReportWriteBackRequested,
    StudyAvailable,
    WriteBackDone,
)
from imaging_common.messaging.cloudevents import read_envelope, read_event, to_record
from imaging_common.objects.catalogue import decode
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import read_all, send_raw
from imaging_native import ct
from imaging_native.asking import until
from imaging_native.distributed import fill_pacs, until_listed
from imaging_native.pacs import OrthancPacs
from imaging_native.region import Region
from imaging_native.session import portal_client

SLICES = 2
JSON = {"Accept": "application/dicom+json"}
OWN_PACS = ("tertiary", "tcm")


@dataclass
class Report:
    """The objects of one report, as the centre keeps them: a PDF and key objects."""

    hospital: str
    study_uid: str
    files: list[Dataset]
    digests: dict[str, str]

    @property
    def uids(self) -> list[str]:
        return sorted(self.digests)

    def command(self, seconds: float = 300.0, write_back_id: str = "") -> ReportWriteBackRequested:
        return ReportWriteBackRequested(
            write_back_id=write_back_id or uuid4().hex,
            consult_id=uuid4().hex,
            report_version=1,
            study_uid=self.study_uid,
            holder=self.hospital,
            instances=[ManifestEntry(sop_instance_uid=uid, sha256=digest) for uid, digest in self.digests.items()],
            deadline=datetime.now(UTC) + timedelta(seconds=seconds),
        )


class Consult:
    """Speaks on Kafka as the consult service does, and stores as the portal does."""

    def __init__(self, region: Region) -> None:
        self.region = region
        kafka = region.state["kafka"]
        self._settings = ServiceSettings(
            kafka_bootstrap=kafka["bootstrap"],
            kafka_username="consult",
            kafka_password=SecretStr(kafka["users"]["consult"]),
        )

    async def store(self, study: ct.Series, hospital: str) -> Report:
        """A report on the study, in the centre under the hospital's name."""
        head = pydicom.dcmread(study.files[0], stop_before_pixels=True)
        found = [document(head, kind) for kind in (EncapsulatedPDFStorage, KeyObjectSelectionDocumentStorage)]
        data = [part10(one) for one in found]
        async with httpx.AsyncClient(timeout=30) as http:
            secret = self.region.client_secret("portal")
            token = ServiceToken(http, self.region.state["issuer"], "portal", secret)
            async with httpx.AsyncClient(base_url=self.region.state["ingest"], timeout=30) as ingest:
                store = HttpInstanceStore(ingest, token)
                await store.store(hospital, study.study_uid, data, user="expert.secondary", hospital="secondary")
        digests = {
            str(one.SOPInstanceUID): hashlib.sha256(raw).hexdigest() for one, raw in zip(found, data, strict=True)
        }
        return Report(hospital, study.study_uid, found, digests)

    async def tell(self, hospital: str, command: ReportWriteBackRequested) -> None:
        value, headers = to_record(command, "consult", None, None)
        await send_raw(self._settings, f"edge-commands-{hospital}", [(command.study_uid.encode(), value, headers)])

    async def said(self, hospital: str) -> list[Event]:
        records = await read_all(self._settings, f"edge-events-{hospital}")
        return [read_event(record, read_envelope(record)) for record in records]

    async def receipts(self, hospital: str, write_back_id: str, at_least: int = 1) -> list[WriteBackDone]:
        """Wait for so many receipts of one write-back."""

        async def told() -> list[WriteBackDone] | None:
            events = [one for one in await self.said(hospital) if isinstance(one, WriteBackDone)]
            found = [one for one in events if one.write_back_id == write_back_id]
            return found if len(found) >= at_least else None

        found: list[WriteBackDone] = await until(told, f"{at_least} receipts of a write-back to {hospital}")
        return found


def document(head: Dataset, kind: str) -> Dataset:
    """One object of a report on this study: a PDF, or the choice of its key images."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SpecificCharacterSet = "ISO_IR 192"
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
                 "StudyTime", "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
        setattr(one, name, head.get(name, ""))
    one.StudyID, one.SeriesNumber, one.InstanceNumber = "1", 900, 1
    one.SOPClassUID, one.SOPInstanceUID, one.SeriesInstanceUID = kind, generate_uid(), generate_uid()
    one.file_meta.MediaStorageSOPClassUID, one.file_meta.MediaStorageSOPInstanceUID = kind, one.SOPInstanceUID
    if kind == EncapsulatedPDFStorage:
        one.Modality, one.MIMETypeOfEncapsulatedDocument = "DOC", "application/pdf"
        one.EncapsulatedDocument = b"%PDF-1.7\n% report\n"
    else:
        one.Modality, one.ContentDate, one.ContentTime = "KO", "20261124", "090000"
        one.ValueType, one.ContinuityOfContent = "CONTAINER", "SEPARATE"
    return one


def part10(one: Dataset) -> bytes:
    buffer = io.BytesIO()
    one.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


async def in_pacs(region: Region, report: Report) -> list[str]:
    """Which of the report's objects the hospital's PACS, or its reading station, lists now (twice where twice)."""
    pacs = {**region.archives, **region.pacs}[report.hospital]
    if isinstance(pacs, OrthancPacs):
        async with httpx.AsyncClient(timeout=30) as http:
            address = f"{pacs.dicomweb_url}/studies/{report.study_uid}/instances"
            answer = await http.get(address, headers=JSON)
        rows = answer.json() if answer.status_code == 200 else []
        found = [str(row["00080018"]["Value"][0]) for row in rows]
    else:
        found = await asyncio.to_thread(found_by_dimse, pacs.ae_title, pacs.port, report)
    return sorted(uid for uid in found if uid in report.digests)


def found_by_dimse(title: str, port: int, report: Report) -> list[str]:
    caller = ApplicationEntity("TEST")
    caller.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = caller.associate("127.0.0.1", port, ae_title=title)
    assert association.is_established
    found = []
    for one in report.files:
        asked = Dataset()
        asked.QueryRetrieveLevel, asked.SOPInstanceUID = "IMAGE", ""
        asked.StudyInstanceUID, asked.SeriesInstanceUID = report.study_uid, one.SeriesInstanceUID
        for _, answer in association.send_c_find(asked, StudyRootQueryRetrieveInformationModelFind):
            if answer is not None:
                found.append(str(answer.SOPInstanceUID))
    association.release()
    return found


def own_instances(region: Region, event: StudyAvailable) -> list[str]:
    """The instances that an announcement of a PACS's study lists."""
    assert event.catalogue_key is not None
    minio = region.state["minio"]
    client = Minio(minio["endpoint"], minio["access_key"], minio["secret_key"], secure=False)
    answer = client.get_object("cache", event.catalogue_key)
    try:
        catalogue = decode(answer.read())
    finally:
        answer.close()
    return [instance.sop_instance_uid for instance in catalogue.instances]


async def announcements(region: Region, consult: Consult, report: Report) -> list[list[str]]:
    """Which instances each announcement of the study lists."""
    told = [one for one in await consult.said(report.hospital) if isinstance(one, StudyAvailable)]
    of_study = [one for one in told if one.study_uid == report.study_uid]
    return [await asyncio.to_thread(own_instances, region, one) for one in of_study]


@asynccontextmanager
async def doctor_of(region: Region, hospital: str) -> AsyncIterator[httpx.AsyncClient]:
    client = await portal_client(region.state, f"doctor.{hospital}")
    try:
        yield client
    finally:
        await client.aclose()


async def study_at(region: Region, hospital: str, folder: Path) -> ct.Series:
    """A study of the hospital: in its PACS, or by its edge agent in the centre."""
    series = await asyncio.to_thread(ct.write_series, folder, slices=SLICES + 1, seed=secrets.randbelow(10**9))
    target = region.state["pacs"].get(hospital) or {**region.state["edges"][hospital], "dicomweb": ""}
    await fill_pacs(target, series.files[:SLICES])
    async with doctor_of(region, hospital) as doctor:
        await until_listed(doctor, series.study_uid, SLICES)
    return series


@pytest.mark.parametrize("hospital", OWN_PACS)
async def test_report_lies_in_the_hospitals_pacs_and_is_not_announced(
    region: Region, tmp_path: Path, hospital: str
) -> None:
    consult = Consult(region)
    series = await study_at(region, hospital, tmp_path)
    report = await consult.store(series, hospital)
    before = len(await announcements(region, consult, report))
    command = report.command()
    await consult.tell(hospital, command)
    (receipt,) = await consult.receipts(hospital, command.write_back_id)
    assert (sorted(receipt.stored), receipt.reason) == (report.uids, "")
    assert await in_pacs(region, report) == report.uids

    await consult.tell(hospital, command)  # delivered twice: told again, stored once
    again = await consult.receipts(hospital, command.write_back_id, at_least=2)
    assert {(tuple(sorted(one.stored)), one.reason) for one in again} == {(tuple(report.uids), "")}
    assert await in_pacs(region, report) == report.uids

    await fill_pacs(region.state["pacs"][hospital], series.files[SLICES:])  # what is the hospital's own still is news

    async def late_image_announced() -> list[list[str]] | None:
        listed = await announcements(region, consult, report)
        return listed if len(listed[-1]) == SLICES + 1 else None

    listed: list[list[str]] = await until(late_image_announced, "the late image announced")
    assert len(listed) == before + 1  # nothing was told when the report came
    assert not {uid for one in listed for uid in one} & set(report.uids)


async def test_reading_station_of_a_hospital_without_pacs_gets_it(region: Region, tmp_path: Path) -> None:
    consult = Consult(region)
    report = await consult.store(await study_at(region, "community", tmp_path), "community")
    command = report.command()
    await consult.tell("community", command)
    (receipt,) = await consult.receipts("community", command.write_back_id)
    assert (sorted(receipt.stored), receipt.reason) == (report.uids, "")
    assert await in_pacs(region, report) == report.uids


async def test_hospital_without_a_target_answers_that_it_has_none(region: Region) -> None:
    consult = Consult(region)
    command = Report("secondary", str(generate_uid()), [], {str(generate_uid()): "5" * 64}).command()
    await consult.tell("secondary", command)
    (receipt,) = await consult.receipts("secondary", command.write_back_id)
    assert (receipt.stored, receipt.reason) == ([], "no-pacs")


async def test_pacs_that_is_down_is_told_and_a_killed_agent_goes_on(region: Region, tmp_path: Path) -> None:
    consult = Consult(region)
    report = await consult.store(await study_at(region, "tcm", tmp_path), "tcm")
    await region.kill("pacs-tcm")
    command = report.command(seconds=5)
    await consult.tell("tcm", command)
    (receipt,) = await consult.receipts("tcm", command.write_back_id)
    assert (receipt.stored, receipt.reason) == ([], "pacs-unreachable")

    await consult.tell("tcm", report.command(300, command.write_back_id))
    journal = region.folder / "spool-tcm" / "journal.sqlite"

    async def tried_again() -> Any:
        return await asyncio.to_thread(open_tries, journal, command.write_back_id)

    tries = await until(tried_again, "the second command in the agent's journal")
    assert tries >= 1
    await region.kill("edge-agent-tcm")
    await region.restart("pacs-tcm")
    await region.restart("edge-agent-tcm")
    receipts = await consult.receipts("tcm", command.write_back_id, at_least=2)
    assert (sorted(receipts[-1].stored), receipts[-1].reason) == (report.uids, "")
    assert await in_pacs(region, report) == report.uids


def open_tries(journal: Path, write_back_id: str) -> int:
    """How often an open write-back was tried; 0 while it is not open."""
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as database:
        rows = database.execute(
            "SELECT tries FROM write_backs WHERE write_back_id = ? AND state = 'open'", (write_back_id,)
        ).fetchall()
    return int(rows[0][0]) if rows else 0
