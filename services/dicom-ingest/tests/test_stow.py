"""STOW-RS (PS3.18 §10.5): what is stored, what is answered, and what is left when it goes wrong."""

import base64
import hashlib
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_ingest.api import build_router
from dicom_ingest.settings import Settings
from dicom_ingest.usecases.store_catalogue import StoreCatalogue
from dicom_ingest.usecases.store_instances import StoreInstances
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims, InvalidToken
from imaging_common.errors import PublishFailed
from imaging_common.events import AuditRecorded, InstancesReceived
from imaging_common.http import create_app
from imaging_common.messaging import FakePublisher
from imaging_common.objects.catalogue import Catalogue, CatalogueInstance, encode
from imaging_common.objects.manifest import read_manifest
from imaging_common.objects.model import collection_id
from imaging_common.objects.store import FakeObjectStore, StoreFull, StoreUnavailable
from imaging_common.testing.metrics import Counted
from imaging_common.testing.peers import ShowsCertificate
from imaging_operate.certificates import RegionCa

CT = "1.2.840.10008.5.1.4.1.1.2"
TOKENS = {
    "edge": Claims("edge-community", "community", frozenset({"edge-agent"})),
    "doctor": Claims("doctor", "community", frozenset({"doctor"})),
    "nowhere": Claims("edge-x", "../other", frozenset({"edge-agent"})),
    "portal": Claims("service-account-portal", "", frozenset({"gateway"})),
    "consult": Claims("service-account-consult-service", "", frozenset({"consult-service"})),
}


def dicom_file(number: int = 1, *, study: str = "1.2.3", pixels: int = 64, **attributes: Any) -> bytes:
    """A small CT slice as Part 10 file."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CT, f"{study}.9.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.9"
    ds.PatientName, ds.PatientID, ds.Modality = "Wang^Xiaodong=王^小东", "P-1", "CT"
    ds.SpecificCharacterSet, ds.InstanceNumber = "ISO_IR 192", number
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = pixels, pixels, 16, 12, 11
    ds.PixelData = hashlib.shake_128(str(number).encode()).digest(pixels * pixels * 2)
    for name, value in attributes.items():
        setattr(ds, name, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def multipart(*files: bytes, kind: str = "application/dicom", boundary: str = "xx") -> bytes:
    """A store request's body."""
    head = f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode()
    return b"".join(head + file + b"\r\n" for file in files) + f"--{boundary}--\r\n".encode()


class FakeVerifier:
    """Knows the tokens above."""

    async def verify(self, token: str) -> Claims:
        if token not in TOKENS:
            raise InvalidToken("the token's signature does not verify")
        return TOKENS[token]


@dataclass
class Ingest:
    """The application's client and the fakes behind it."""

    client: httpx.AsyncClient
    store: FakeObjectStore
    publisher: FakePublisher
    store_instances: StoreInstances
    settings: Settings
    connection: ShowsCertificate

    async def post(
        self, body: Any, path: str = "/studies", token: str = "edge", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Store."""
        defaults = {
            "Authorization": f"Bearer {token}",
            "Content-Type": 'multipart/related; type="application/dicom"; boundary=xx',
            "X-Calling-AE": "COMMUNITY",
        }
        return await self.client.post(path, content=body, headers=defaults | (headers or {}))


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.fixture
async def ingest(tmp_path: Path, region_ca: RegionCa) -> AsyncIterator[Ingest]:
    """An ingest with small bounds."""
    settings = Settings(
        scratch_dir=str(tmp_path),
        max_parts=8,
        max_instance_bytes=100_000,
        batch_bytes=40_000,
        memory_bytes=30_000,
        max_catalogue_bytes=20_000,
        dicomweb_url="https://portal.example/dicomweb",
    )
    store, publisher = FakeObjectStore(), FakePublisher()
    audit = AuditTrail("dicom-ingest", publisher)
    store_instances = StoreInstances(store, publisher, audit)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app("dicom-ingest", settings, lifespan=lifespan, checks={})
    app.include_router(build_router(settings, store_instances, StoreCatalogue(store), FakeVerifier(), audit))  # type: ignore[arg-type]
    connection = ShowsCertificate(app, region_ca.edge("community", ["COMMUNITY"]).cert)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(connection), base_url="http://ingest") as client:
        yield Ingest(client, store, publisher, store_instances, settings, connection)
    assert left_in(tmp_path) == []


def values(document: dict[str, Any], sequence: str, tag: str) -> list[Any]:
    return [item[tag]["Value"][0] for item in document.get(sequence, {}).get("Value", [])]


async def test_instances_are_staged_with_manifest_and_event_when_stored(ingest: Ingest) -> None:
    files = [dicom_file(1), dicom_file(2)]
    answer = await ingest.post(multipart(*files), "/studies/1.2.3")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    document = answer.json()
    assert values(document, "00081199", "00081155") == ["1.2.3.9.1", "1.2.3.9.2"]
    assert document["00081190"]["Value"] == ["https://portal.example/dicomweb/hospitals/community/studies/1.2.3"]
    assert Dataset.from_json(document).ReferencedSOPSequence[0].RetrieveURL.endswith("/instances/1.2.3.9.1")
    (event,) = ingest.publisher.events("instances-received")
    assert isinstance(event, InstancesReceived)
    assert (event.hospital, event.instance_count, event.has_edge) == ("community", 2, True)
    manifest = await read_manifest(ingest.store, "staging", event.manifest_key)
    assert manifest.data_key.startswith("community/1.2.3/")
    data = await ingest.store.get("staging", manifest.data_key)
    for file, stored in zip(files, manifest.instances, strict=True):
        assert data[stored.offset : stored.offset + stored.length] == file
        assert stored.sha256 == hashlib.sha256(file).hexdigest()
        ((frame,),) = stored.frames
        assert data[frame[0] : sum(frame)] == file[-64 * 64 * 2 :]


async def test_key_is_the_same_when_request_is_repeated(ingest: Ingest) -> None:
    await ingest.post(multipart(dicom_file(1)))
    before = dict(ingest.store.objects)
    await ingest.post(multipart(dicom_file(1)))
    assert ingest.store.objects.keys() == before.keys()


async def test_batches_are_bounded_when_request_is_long(ingest: Ingest) -> None:
    answer = await ingest.post(multipart(*(dicom_file(n, pixels=100) for n in range(1, 7))))
    assert len(values(answer.json(), "00081199", "00081155")) == 6
    assert [e.instance_count for e in ingest.publisher.events("instances-received")] == [2, 2, 2]


async def test_studies_are_staged_apart_when_request_mixes_them(ingest: Ingest) -> None:
    answer = await ingest.post(multipart(dicom_file(1), dicom_file(1, study="1.2.4"), dicom_file(2)))
    assert answer.status_code == 200
    assert "Value" not in answer.json()["00081190"]
    events = ingest.publisher.events("instances-received")
    assert {(e.study_uid, e.instance_count) for e in events} == {("1.2.3", 2), ("1.2.4", 1)}


async def test_repetition_is_stored_once_when_in_one_request(ingest: Ingest) -> None:
    answer = await ingest.post(multipart(dicom_file(1), dicom_file(1)))
    assert answer.status_code == 200
    assert values(answer.json(), "00081199", "00081155") == ["1.2.3.9.1"]
    assert [e.instance_count for e in ingest.publisher.events("instances-received")] == [1]


async def test_rest_is_stored_when_some_are_refused(ingest: Ingest) -> None:
    cut = dicom_file(2)[:-100]
    other = dicom_file(1, study="1.2.4")
    stored = Counted("imaging_ingest_instances_total", hospital="community", outcome="stored")
    size = Counted("imaging_ingest_bytes_total", hospital="community", bucket="staging")
    answer = await ingest.post(multipart(dicom_file(1), cut, b"no DICOM", other, b""), "/studies/1.2.3")
    assert (stored.grown, size.grown) == (1, len(dicom_file(1)))
    assert answer.status_code == 202
    document = answer.json()
    assert values(document, "00081199", "00081155") == ["1.2.3.9.1"]
    assert values(document, "00081198", "00081155") == ["1.2.3.9.2", "1.2.4.9.1"]
    assert values(document, "00081198", "00081197") == [0xC000, 0xA901]
    assert values(document, "0008119A", "00081197") == [0xC000, 0xC000]
    assert all(len(text) <= 64 for text in values(document, "00081198", "00000902"))
    (event,) = ingest.publisher.events("instances-received")
    manifest = await read_manifest(ingest.store, "staging", event.manifest_key)
    assert await ingest.store.get("staging", manifest.data_key) == dicom_file(1)


async def test_nothing_is_stored_when_all_are_refused(ingest: Ingest) -> None:
    answer = await ingest.post(multipart(dicom_file(1)), "/studies/1.2.99")
    assert answer.status_code == 409
    assert not ingest.store.objects
    assert not ingest.publisher.published


@pytest.mark.parametrize(
    ("body", "headers", "path", "status"),
    [
        (b"x", {"Content-Type": "application/json"}, "/studies", 415),
        (b"x", {"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=xx'}, "/studies", 415),
        (multipart(b"x", kind="image/jpeg"), {}, "/studies", 415),
        (b"x", {"Content-Type": 'multipart/related; type="application/dicom"'}, "/studies", 400),
        (b"nonsense", {}, "/studies", 400),
        (b"", {}, "/studies", 400),
        (b"--xx--\r\n", {}, "/studies", 400),
        (multipart(dicom_file(1))[:-30], {}, "/studies", 400),
        (multipart(dicom_file(1)), {}, "/studies/not-a-uid", 400),
        (multipart(dicom_file(1)), {"Accept": "text/html"}, "/studies", 406),
        (multipart(*[b"x"] * 9), {}, "/studies", 413),
        (multipart(bytes(100_001)), {}, "/studies", 413),
    ],
)
async def test_request_is_refused_when_it_is_no_store_request(
    ingest: Ingest, body: bytes, headers: dict[str, str], path: str, status: int
) -> None:
    answer = await ingest.post(body, path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert not ingest.store.objects


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [("doctor", 403, "not-an-edge-agent"), ("nowhere", 403, "no-hospital"), ("forged", 401, "invalid-token")],
)
async def test_sender_is_turned_away_and_audited_when_token_is_wrong(
    ingest: Ingest, token: str, status: int, reason: str
) -> None:
    answer = await ingest.post(multipart(dicom_file(1)), token=token)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    (record,) = ingest.publisher.events("audit-recorded")
    assert isinstance(record, AuditRecorded)
    assert (record.outcome, record.reason) == ("denied", reason)
    assert not ingest.store.objects


async def test_token_is_asked_for_when_there_is_none(ingest: Ingest) -> None:
    answer = await ingest.post(multipart(dicom_file(1)), headers={"Authorization": ""})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("error", "status"), [(StoreUnavailable("away"), 503), (StoreFull("full"), 507)])
async def test_no_success_is_answered_when_store_fails(ingest: Ingest, error: Exception, status: int) -> None:
    ingest.store.fail_with = error
    answer = await ingest.post(multipart(dicom_file(1)))
    assert answer.status_code == status
    assert not ingest.publisher.published


async def test_no_success_is_answered_when_kafka_is_away(ingest: Ingest) -> None:
    ingest.publisher.fail_with = PublishFailed("away")
    answer = await ingest.post(multipart(dicom_file(1)))
    assert answer.status_code == 503
    ingest.publisher.fail_with = None
    assert (await ingest.post(multipart(dicom_file(1)))).status_code == 200


async def test_body_is_read_when_it_comes_in_small_pieces(ingest: Ingest) -> None:
    body = multipart(dicom_file(1), dicom_file(2))

    async def pieces() -> Any:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    answer = await ingest.post(pieces())
    assert answer.status_code == 200
    assert len(values(answer.json(), "00081199", "00081155")) == 2


async def test_store_is_audited_when_done(ingest: Ingest) -> None:
    await ingest.post(multipart(dicom_file(1)))
    (record,) = ingest.publisher.events("audit-recorded")
    assert isinstance(record, AuditRecorded)
    assert (record.action, record.outcome, record.user) == ("store", "success", "edge-community")
    assert (record.study_uid, record.holder, record.count) == ("1.2.3", "community", 1)


RETRIEVAL = "0123456789abcdef0123456789abcdef"


async def test_copies_go_to_cache_when_a_retrieval_brings_them(ingest: Ingest) -> None:
    path = f"/studies/1.2.3?retrieval={RETRIEVAL}"
    answer = await ingest.post(multipart(dicom_file(1), dicom_file(2, pixels=130)), path)
    assert answer.status_code == 200
    assert values(answer.json(), "00081199", "00081155") == ["1.2.3.9.1", "1.2.3.9.2"]
    (event,) = ingest.publisher.events("instances-received")
    assert isinstance(event, InstancesReceived)
    assert (event.bucket, event.retrieval_id, event.instance_count) == ("cache", RETRIEVAL, 2)
    manifest = await read_manifest(ingest.store, "cache", event.manifest_key)
    assert (manifest.lies_in, manifest.id) == ("cache", event.batch_id)
    assert event.batch_id == collection_id([RETRIEVAL, *(i.sha256 for i in manifest.instances)])
    assert await ingest.store.get("cache", manifest.data_key) == dicom_file(1) + dicom_file(2, pixels=130)
    assert {bucket for bucket, _ in ingest.store.objects} == {"cache"}
    (record,) = ingest.publisher.events("audit-recorded")
    assert isinstance(record, AuditRecorded)
    assert (record.action, record.count) == ("retrieve", 2)


async def test_key_is_another_when_another_retrieval_brings_the_same(ingest: Ingest) -> None:
    for retrieval in (RETRIEVAL, RETRIEVAL, RETRIEVAL[::-1]):
        await ingest.post(multipart(dicom_file(1)), f"/studies/1.2.3?retrieval={retrieval}")
    assert len(ingest.store.objects) == 4
    assert len({e.audit_id for e in ingest.publisher.events("audit-recorded")}) == 2


@pytest.mark.parametrize("retrieval", ["", "x", RETRIEVAL.upper(), f"{RETRIEVAL}0", f"{RETRIEVAL}%0A", "../" * 10])
async def test_request_is_refused_when_retrieval_is_no_id(ingest: Ingest, retrieval: str) -> None:
    answer = await ingest.post(multipart(dicom_file(1)), f"/studies/1.2.3?retrieval={retrieval}")
    assert answer.status_code == 400
    assert not ingest.store.objects


def catalogue(**changes: Any) -> bytes:
    """An encoded catalogue of one instance."""
    instance = CatalogueInstance(sop_instance_uid="1.2.3.9.1", series_uid="1.2.3.9", header={"00100020": {"vr": "LO"}})
    whole = Catalogue(
        hospital="community", study_uid="1.2.3", announcement=1, study={}, series=[], instances=[instance]
    )
    return encode(whole.model_copy(update=changes))


async def post_catalogue(ingest: Ingest, body: bytes, study: str = "1.2.3", **headers: str) -> httpx.Response:
    kind = {"Content-Type": "application/vnd.imaging.catalogue+zstd"}
    return await ingest.post(body, f"/studies/{study}/catalogue", headers=kind | headers)


async def test_catalogue_is_kept_under_its_digest_when_sent(ingest: Ingest) -> None:
    body = catalogue()
    for _ in range(2):
        answer = await post_catalogue(ingest, body)
        assert answer.status_code == 200
        assert answer.json() == {"key": f"community/1.2.3/{hashlib.sha256(body).hexdigest()}.catalogue"}
    assert ingest.store.objects == {("cache", answer.json()["key"]): body}


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (catalogue(hospital="secondary"), 422, "hospital"),
        (catalogue(study_uid="1.2.4"), 422, "study_uid"),
        (b"nonsense", 422, "no catalogue"),
        (zstandard.compress(b"{}"), 422, "no catalogue"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000)), 422, "no catalogue"),
        (b"", 422, "no catalogue"),
        (bytes(20_001), 413, "20000"),
    ],
)
async def test_catalogue_is_refused_when_it_is_not_the_senders(
    ingest: Ingest, body: bytes, status: int, word: str
) -> None:
    answer = await post_catalogue(ingest, body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert word in answer.json()["detail"]
    assert "1.2.4" not in answer.text
    assert not ingest.store.objects


async def test_catalogue_is_refused_when_request_is_another(ingest: Ingest) -> None:
    assert (await post_catalogue(ingest, catalogue(), **{"Content-Type": "application/json"})).status_code == 415
    assert (await post_catalogue(ingest, catalogue(), "not-a-uid")).status_code == 400
    assert (await post_catalogue(ingest, catalogue(), Authorization="Bearer doctor")).status_code == 403
    ingest.store.fail_with = StoreUnavailable("away")
    assert (await post_catalogue(ingest, catalogue())).status_code == 503


def denied(ingest: Ingest) -> list[str]:
    records = [e for e in ingest.publisher.events("audit-recorded") if isinstance(e, AuditRecorded)]
    return [record.reason for record in records if record.outcome == "denied"]


@pytest.mark.parametrize(
    ("hospital", "titles", "ae_title", "minutes", "reason"),
    [
        ("", (), "COMMUNITY", 1, "no-certificate"),
        ("secondary", ("COMMUNITY",), "COMMUNITY", 1, "certificate-of-another-hospital"),
        ("community", ("COMMUNITY",), "SECONDARY", 1, "ae-title-not-in-certificate"),
        ("community", ("COMMUNITY",), "", 1, "no-ae-title"),
        ("community", ("COMMUNITY",), "COMMUNITY", -1, "certificate-expired"),
    ],
)
async def test_edge_agent_is_refused_and_told_why_when_something_names_another_hospital(
    ingest: Ingest,
    region_ca: RegionCa,
    hospital: str,
    titles: tuple[str, ...],
    ae_title: str,
    minutes: int,
    reason: str,
) -> None:
    until = datetime.now(UTC) + timedelta(minutes=minutes)
    ingest.connection.show(region_ca.edge(hospital, titles, name="x", until=until).cert if hospital else None)
    answer = await ingest.post(multipart(dicom_file()), headers={"X-Calling-AE": ae_title})
    assert (answer.status_code, answer.json()["reason"]) == (403, reason)
    assert denied(ingest) == [reason]
    assert not ingest.publisher.events("instances-received")


@pytest.mark.parametrize("form", ["rfc9440", "nginx"])
async def test_certificate_in_a_header_counts_only_when_a_proxy_is_trusted(
    ingest: Ingest, region_ca: RegionCa, form: str
) -> None:
    pem = region_ca.edge("community", ["COMMUNITY"], name="proxied").cert.read_text()
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
    text = f":{base64.b64encode(der).decode()}:" if form == "rfc9440" else urllib.parse.quote(pem)
    ingest.connection.show(None)
    headers = {"Client-Cert": text}
    assert (await ingest.post(multipart(dicom_file()), headers=headers)).status_code == 403
    ingest.settings.client_cert_header = "Client-Cert"
    assert (await ingest.post(multipart(dicom_file()), headers=headers)).status_code == 200
    assert (await ingest.post(multipart(dicom_file()), headers={"Client-Cert": "rubbish"})).status_code == 403


async def test_portal_stores_for_the_hospital_it_names_and_the_record_names_the_person(ingest: Ingest) -> None:
    ingest.connection.show(None)
    headers = {"X-On-Behalf-Of": "doctor.tertiary", "X-On-Behalf-Of-Hospital": "tertiary"}
    answer = await ingest.post(multipart(dicom_file()), "/studies/1.2.3?holder=community", "portal", headers)
    assert answer.status_code == 200
    (event,) = ingest.publisher.events("instances-received")
    assert isinstance(event, InstancesReceived)
    assert (event.hospital, event.has_edge) == ("community", False)
    (record,) = ingest.publisher.events("audit-recorded")
    assert isinstance(record, AuditRecorded)
    assert (record.user, record.hospital, record.holder) == ("doctor.tertiary", "tertiary", "community")
    assert record.source == "service-account-portal"


@pytest.mark.parametrize(
    ("path", "person", "status"),
    [
        ("/studies", "doctor.tertiary", 400),
        ("/studies?holder=../x", "doctor.tertiary", 400),
        ("/studies?holder=community", "", 400),
        (f"/studies/1.2.3?holder=community&retrieval={'a' * 32}", "doctor.tertiary", 400),
        ("/studies/1.2.3/catalogue?holder=community", "doctor.tertiary", 403),
    ],
)
async def test_portal_is_refused_when_it_does_not_say_for_whom(
    ingest: Ingest, path: str, person: str, status: int
) -> None:
    headers = {"X-On-Behalf-Of": person}
    assert (await ingest.post(multipart(dicom_file()), path, "portal", headers)).status_code == status
    assert not ingest.publisher.events("instances-received")


async def test_consult_service_stores_reports_for_the_studys_holder_and_no_images(ingest: Ingest) -> None:
    ingest.connection.show(None)
    pdf = dicom_file(2, SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", EncapsulatedDocument=b"%PDF-1.7")
    headers = {"X-On-Behalf-Of": "expert.secondary", "X-On-Behalf-Of-Hospital": "secondary"}
    answer = await ingest.post(multipart(pdf, dicom_file(3)), "/studies/1.2.3?holder=tertiary", "consult", headers)
    assert answer.status_code == 202
    (failed,) = answer.json()["00081198"]["Value"]
    assert (failed["00081155"]["Value"], failed["00081197"]["Value"]) == (["1.2.3.9.3"], [0x0122])
    (event,) = ingest.publisher.events("instances-received")
    assert isinstance(event, InstancesReceived)
    assert (event.hospital, event.has_edge, event.instance_count, event.bucket) == ("tertiary", False, 1, "staging")
    (record,) = ingest.publisher.events("audit-recorded")
    assert isinstance(record, AuditRecorded)
    assert (record.user, record.source) == ("expert.secondary", "service-account-consult-service")
    assert (await ingest.post(multipart(pdf), "/studies/1.2.3", "consult", headers)).status_code == 400


async def test_edge_agent_cannot_name_another_holder(ingest: Ingest) -> None:
    answer = await ingest.post(multipart(dicom_file()), "/studies?holder=secondary")
    assert (answer.status_code, denied(ingest)) == (403, ["foreign-holder"])
