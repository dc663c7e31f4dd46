"""Readers save measurements from the viewer: what is taken, where it goes, who may, and what is written down."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from gateway.adapters.ingest import HttpInstanceStore, ServiceToken
from gateway.dicomweb import build_dicomweb_router
from gateway.errors import IngestRefused, IngestUnavailable
from gateway.ports import FakeInstanceStore
from gateway.usecases.store_annotations import StoreAnnotations
from imaging_common.access import Grant, GrantKind, StudyRef, Subject
from imaging_common.audit import AuditTrail
from imaging_common.events import AuditRecorded
from imaging_common.index.fake import FakeIndexReader
from imaging_common.messaging import FakePublisher
from imaging_common.objects.store import FakeObjectStore

COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
SOFTCOPY_PR = "1.2.840.10008.5.1.4.1.1.11.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
DOCTOR = Subject("doctor.community", "community", frozenset({"doctor"}), session="s1")
EXPERT = Subject("expert.secondary", "secondary", frozenset({"expert"}))
LINK = Subject(
    "link-7", "", frozenset({"share-link"}), (Grant(StudyRef("1.2.3", "community"), "g", kind=GrantKind.SHARE),)
)
MAX_BYTES = 100_000


def annotation(
    study: str = "1.2.3", *, sop_class: str = COMPREHENSIVE_SR, modality: str = "SR", series: str = "1.2.3.9",
    patient: str = "P-001", sop: str = "",
) -> bytes:  # fmt: skip
    """A Part 10 file of one."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, sop or generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality, ds.PatientID = study, series, modality, patient
    if sop_class == CT_IMAGE:
        ds.Rows = ds.Columns = 1
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelData = 8, 8, 7, b"\0\0"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = sop_class, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def body_of(*files: bytes, kind: str = "application/dicom") -> dict[str, Any]:
    """A store request."""
    parts = b"".join(f"--b\r\nContent-Type: {kind}\r\n\r\n".encode() + file + b"\r\n" for file in files)
    return {
        "content": parts + b"--b--\r\n",
        "headers": {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'},
    }


@dataclass
class World:
    """A study at two holders, the ingest, who asks, and what was audited."""

    reader: FakeIndexReader = field(default_factory=FakeIndexReader)
    ingest: FakeInstanceStore = field(default_factory=FakeInstanceStore)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    subject: Subject = DOCTOR
    web: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        for holder in ("community", "secondary"):
            patient = {"id": "P-001" if holder == "community" else "Q-9", "issuer": "", "birth_date": "", "sex": ""}
            names = {"study_uid": "1.2.3", "holder": holder}
            self.reader.put(
                "studies",
                {"_id": f"{holder}/1.2.3", **names, "version": {"epoch": 1, "n": 1}, "patient": patient,
                 "instance_count": 3, "updated_at": "2026-11-24T00:00:00Z"},
            )  # fmt: skip
            series = {"_id": f"{holder}/1.2.3/1.2.3.1", "series_uid": "1.2.3.1", "modality": "CT", "instance_count": 3}
            self.reader.put("series", {**series, **names, "study_key": f"{holder}/1.2.3"})
        trail, app, index = AuditTrail("gateway", self.publisher), FastAPI(), self.reader.index()

        async def subject_of(_: Request) -> Subject:
            return self.subject

        annotations = StoreAnnotations(index, self.ingest, trail, max_bytes=MAX_BYTES)
        router = build_dicomweb_router(index, FakeObjectStore(), subject_of, trail, annotations=annotations)
        app.include_router(router, prefix="/dicomweb")
        self.web = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://portal/dicomweb")

    @property
    def audited(self) -> list[AuditRecorded]:
        return [event for _, event, _ in self.publisher.published if isinstance(event, AuditRecorded)]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.web.aclose()


async def test_measurements_go_to_the_holder_whose_patient_they_name_and_are_audited(world: World) -> None:
    file = annotation()
    answer = await world.web.post("/studies/1.2.3", **body_of(file))
    assert answer.status_code == 200
    assert world.ingest.stored == [("community", "1.2.3", file, "doctor.community")]
    (record,) = world.audited
    assert (record.action, record.outcome, record.user, record.study_uid, record.holder, record.session) == (
        "annotate", "success", "doctor.community", "1.2.3", "community", "s1",
    )  # fmt: skip


async def test_same_measurements_twice_are_one_record(world: World) -> None:
    file = annotation()
    for _ in range(2):
        await world.web.post("/studies", **body_of(file))
    assert len({record.audit_id for record in world.audited}) == 1


async def test_each_instance_is_answered_when_some_are_refused(world: World) -> None:
    good = annotation(sop_class=SOFTCOPY_PR, modality="PR")
    answer = await world.web.post(
        "/studies",
        **body_of(
            good,
            annotation(sop_class=CT_IMAGE, modality="CT", sop="1.5.1"),
            annotation(patient="P-002", sop="1.5.2"),
            annotation(series="1.2.3.1", sop="1.5.3"),
            annotation(study="1.2.4", sop="1.5.4"),
            b"no DICOM",
        ),
    )
    assert answer.status_code == 202
    document = answer.json()
    refused = {item["00081155"]["Value"][0]: item["00081197"]["Value"][0] for item in document["00081198"]["Value"]}
    assert refused == {"1.5.1": 0x0122, "1.5.2": 0xA900, "1.5.3": 0xA900, "1.5.4": 0x0110}
    assert document["0008119A"]["Value"][0]["00081197"]["Value"] == [0xC000]
    assert [stored[2] for stored in world.ingest.stored] == [good]


@pytest.mark.parametrize(("subject", "status"), [(EXPERT, 409), (LINK, 403)])
async def test_nothing_is_stored_when_the_reader_may_not(world: World, subject: Subject, status: int) -> None:
    world.subject = subject
    answer = await world.web.post("/hospitals/community/studies", **body_of(annotation()))
    assert answer.status_code == status
    assert world.ingest.stored == []
    assert {record.outcome for record in world.audited} == {"denied"}


async def test_foreign_study_answers_404_as_an_absent_one_does(world: World) -> None:
    world.subject = Subject("d", "tcm", frozenset({"doctor"}))
    foreign = await world.web.post("/studies/1.2.3", **body_of(annotation()))
    absent = await world.web.post("/studies/1.2.99", **body_of(annotation(study="1.2.99")))
    assert (foreign.status_code, foreign.json()) == (absent.status_code, absent.json())
    assert foreign.status_code == 404


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        (body_of(b"x" * (MAX_BYTES + 1)), 413),
        (body_of(annotation(), kind="text/html"), 415),
        ({"content": b"{}", "headers": {"Content-Type": "application/json"}}, 415),
        ({**body_of(annotation()), "content": b"--b\r\n\r\nabc"}, 400),
        (body_of(), 400),
    ],
)
async def test_request_is_refused_when_it_is_no_store_request(
    world: World, request_of: dict[str, Any], status: int
) -> None:
    assert (await world.web.post("/studies/1.2.3", **request_of)).status_code == status
    assert world.ingest.stored == []


async def test_reader_is_told_when_the_ingest_has_no_room(world: World) -> None:
    world.ingest.error = IngestRefused(507)
    answer = await world.web.post("/studies/1.2.3", **body_of(annotation()))
    assert answer.status_code == 507
    assert [record.outcome for record in world.audited] == ["failed"]


async def test_ingest_is_asked_as_the_portal_on_behalf_of_the_reader() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json={"token_endpoint": "https://id.example/token"})
        if request.url.path == "/token":
            return httpx.Response(200, json={"access_token": f"t{len(seen)}", "expires_in": 300})
        fresh = request.headers["authorization"] != "Bearer t2"
        return httpx.Response(202 if fresh else 401, json={"00081199": {"vr": "SQ", "Value": [{}]}})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://ingest.example") as client:
        store = HttpInstanceStore(client, ServiceToken(client, "https://id.example", "portal", "secret"))
        document = await store.store("community", "1.2.3", [b"DICM"], user="doctor.community")
    assert len(document["00081199"]["Value"]) == 1
    sent = seen[-1]
    assert (sent.url.path, sent.url.params["holder"]) == ("/studies/1.2.3", "community")
    assert sent.headers["x-on-behalf-of"] == "doctor.community"
    assert b"DICM" in sent.content


@pytest.mark.parametrize(("status", "error"), [(503, IngestUnavailable), (403, IngestRefused), (507, IngestRefused)])
async def test_ingest_that_takes_nothing_is_an_error(status: int, error: type[Exception]) -> None:
    class Token(ServiceToken):
        async def get(self) -> str:
            return "t"

    transport = httpx.MockTransport(lambda _: httpx.Response(status))
    async with httpx.AsyncClient(transport=transport, base_url="https://ingest.example") as client:
        with pytest.raises(error):
            await HttpInstanceStore(client, Token(client, "", "", "")).store("h", "1.2", [b""], user="u")
