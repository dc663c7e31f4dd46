"""The doors for reports: what is stored before the answer, and what is refused in words."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from dicom_ingest.api_reports import build_report_router
from dicom_ingest.settings import Settings
from dicom_ingest.usecases.store_report import StoreReport
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims, InvalidToken
from imaging_common.errors import PublishFailed
from imaging_common.events import AuditRecorded, ReportReceived
from imaging_common.http import create_app
from imaging_common.messaging import FakePublisher
from imaging_common.objects.reports import ReportManifest, report_key
from imaging_common.objects.store import FakeObjectStore, StoreUnavailable
from imaging_common.testing.peers import ShowsCertificate
from imaging_operate.certificates import RegionCa

TOKENS = {
    "edge": Claims("edge-community", "community", frozenset({"edge-agent"})),
    "doctor": Claims("doctor", "community", frozenset({"doctor"})),
}
HL7 = {"Content-Type": "x-application/hl7-v2+er7; charset=gb18030"}
FHIR = {"Content-Type": "application/fhir+json"}
ORU = (
    r"MSH|^~\&|RIS|H|EDGE|C|20261124101500||ORU^R01|C1|P|2.4||||||GB 18030-2000" + "\r"
    "PID|1||1001||王^小东||19700102|M\r"
    "OBR|1|P7|F7|CT01^胸部CT||||||||||||||A100||||20261124101000|||F\r"
    "OBX|1|TX|IMP^诊断意见||右肺结节||||||F\rOBX|2|HD|113014^DICOM Study^DCM||1.2.3||||||F\r"
).encode("gb18030")
RESOURCE = {
    "resourceType": "DiagnosticReport",
    "identifier": [{"value": "F7"}],
    "status": "amended",
    "conclusion": "未见异常",
    "presentedForm": [{"contentType": "application/pdf", "data": base64.b64encode(b"%PDF-1.4").decode()}],
}


class FakeVerifier:
    async def verify(self, token: str) -> Claims:
        if token not in TOKENS:
            raise InvalidToken("unknown")
        return TOKENS[token]


@dataclass
class Bench:
    client: httpx.AsyncClient
    store: FakeObjectStore
    publisher: FakePublisher

    async def post(self, path: str, data: bytes, headers: dict[str, str], token: str = "edge") -> httpx.Response:
        return await self.client.post(
            path, content=data, headers={"X-Calling-AE": "COMMUNITY", **headers, "Authorization": f"Bearer {token}"}
        )

    def events(self, kind: type[Any]) -> list[Any]:
        return [event for _, event, *_ in self.publisher.published if isinstance(event, kind)]


@pytest.fixture
async def bench(region_ca: RegionCa) -> AsyncIterator[Bench]:
    store, publisher = FakeObjectStore(), FakePublisher()
    settings = Settings(max_report_bytes=100_000)
    audit = AuditTrail("dicom-ingest", publisher)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app("dicom-ingest", settings, lifespan=lifespan, checks={})
    verifier: Any = FakeVerifier()
    app.include_router(build_report_router(settings, StoreReport(store, publisher, audit), verifier, audit))
    shown = ShowsCertificate(app, region_ca.edge("community", ["COMMUNITY"]).cert)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=shown), base_url="http://ingest") as client:
        yield Bench(client, store, publisher)


async def test_message_is_stored_as_it_came_and_told_once_it_is(bench: Bench) -> None:
    answer = await bench.post("/reports", ORU, HL7)
    assert answer.status_code == 200
    key = report_key("community", "F7")
    (event,) = bench.events(ReportReceived)
    assert (event.hospital, event.report_key) == ("community", key)
    manifest = ReportManifest.model_validate_json(bench.store.objects["archive", event.manifest_key])
    assert bench.store.objects["archive", manifest.data_key] == ORU
    assert (manifest.report_id, manifest.study_uid, manifest.impression) == ("F7", "1.2.3", "右肺结节")
    assert [event.action for event in bench.events(AuditRecorded)] == ["report"]
    assert "王" not in str([event.model_dump_json() for event in bench.events(ReportReceived)])


async def test_same_message_again_is_the_same_version(bench: Bench) -> None:
    await bench.post("/reports", ORU, HL7)
    before = dict(bench.store.objects)
    assert (await bench.post("/reports", ORU, HL7)).status_code == 200
    assert bench.store.objects == before
    first, second = bench.events(ReportReceived)
    assert first == second


@pytest.mark.parametrize(
    ("data", "headers", "token", "status"),
    [
        (ORU, {"Content-Type": "text/plain"}, "edge", 415),
        (ORU, HL7, "doctor", 403),
        (ORU, HL7, "nobody", 401),
        (b"hello", HL7, "edge", 422),
        (ORU.replace(b"ORU^R01", b"ADT^A01"), HL7, "edge", 422),
        (ORU + b"x" * 100_000, HL7, "edge", 413),
    ],
)
async def test_message_is_refused(bench: Bench, data: bytes, headers: dict[str, str], token: str, status: int) -> None:
    answer = await bench.post("/reports", data, headers, token)
    assert answer.status_code == status
    assert "王" not in answer.text
    assert bench.store.objects == {}


async def test_nothing_is_answered_before_archive_and_kafka_have_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.store.fail_with = StoreUnavailable("away")
    assert (await bench.post("/reports", ORU, HL7)).status_code == 503
    bench.store.fail_with = None

    async def fail(*_: Any, **__: Any) -> None:
        raise PublishFailed("away")

    monkeypatch.setattr(bench.publisher, "publish", fail)
    assert (await bench.post("/reports", ORU, HL7)).status_code == 503


async def test_fhir_resource_is_created_or_refused_in_fhir_words(bench: Bench) -> None:
    answer = await bench.post("/fhir/DiagnosticReport", json.dumps(RESOURCE).encode(), FHIR)
    assert answer.status_code == 201
    assert answer.headers["location"].startswith(f"DiagnosticReport/{report_key('community', 'F7')}/_history/")
    (event,) = bench.events(ReportReceived)
    manifest = ReportManifest.model_validate_json(bench.store.objects["archive", event.manifest_key])
    assert (manifest.status, manifest.impression) == ("amended", "未见异常")
    assert manifest.extra["attachments"][0]["media_type"] == "application/pdf"
    for broken in (b"{", json.dumps({**RESOURCE, "identifier": []}).encode()):
        refused = await bench.post("/fhir/DiagnosticReport", broken, FHIR)
        assert refused.status_code == 422
        assert refused.json()["resourceType"] == "OperationOutcome"
    assert (await bench.post("/fhir/DiagnosticReport", b"<a/>", {"Content-Type": "application/xml"})).status_code == 415
