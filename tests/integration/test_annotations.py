"""A reader's measurements on their way: the gateway's real store request at the ingest's real door, over fakes."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicom_ingest.api import build_router
from dicom_ingest.settings import Settings
from dicom_ingest.usecases.store_catalogue import StoreCatalogue
from dicom_ingest.usecases.store_instances import StoreInstances
from gateway.adapters.ingest import HttpInstanceStore, ServiceToken
from gateway.usecases.store_annotations import StoreAnnotations
from imaging_common.access import Subject
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims
from imaging_common.events import AuditRecorded, InstancesReceived
from imaging_common.http import create_app
from imaging_common.index.fake import FakeIndexReader
from imaging_common.messaging import FakePublisher
from imaging_common.objects.manifest import read_manifest
from imaging_common.objects.store import FakeObjectStore

DOCTOR = Subject("doctor.secondary", "secondary", frozenset({"doctor"}))
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"


class PortalVerifier:
    """Knows the portal's own token."""

    async def verify(self, token: str) -> Claims:
        """See `TokenVerifier.verify`."""
        assert token == "own"
        return Claims("service-account-portal", "", frozenset({"gateway"}))


class OwnToken(ServiceToken):
    """The portal's own token, without a provider."""

    async def get(self) -> str:
        """See `ServiceToken.get`."""
        return "own"


def measurements() -> bytes:
    """An SR as OHIF saves it, as far as the gate looks."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = ENHANCED_SR, generate_uid(), "SR"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.PatientID = "1.2.3", generate_uid(), "P-001"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


async def test_measurements_are_staged_for_the_holder_of_the_study_in_the_readers_name(tmp_path: Path) -> None:
    objects, ingest_events, gateway_events = FakeObjectStore(), FakePublisher(), FakePublisher()
    trail = AuditTrail("dicom-ingest", ingest_events)
    settings = Settings(scratch_dir=str(tmp_path))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app("dicom-ingest", settings, lifespan=lifespan, checks={})
    stores: Any = (StoreInstances(objects, ingest_events, trail), StoreCatalogue(objects), PortalVerifier(), trail)
    app.include_router(build_router(settings, *stores))
    reader = FakeIndexReader()
    reader.put(
        "studies",
        {"_id": "secondary/1.2.3", "study_uid": "1.2.3", "holder": "secondary", "version": {"epoch": 1, "n": 1},
         "patient": {"id": "P-001"}, "instance_count": 3, "updated_at": "2026-11-24T00:00:00Z"},
    )  # fmt: skip
    file = measurements()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        store = HttpInstanceStore(client, OwnToken(client, "", "", ""))
        audit = AuditTrail("gateway", gateway_events)
        annotations = StoreAnnotations(reader.index(), store, audit, max_bytes=1_000_000)
        answers, refused = await annotations(DOCTOR, [file], None, None)

    assert refused == []
    assert [len(answer["00081199"]["Value"]) for answer in answers] == [1]
    (received,) = [event for _, event, _ in ingest_events.published if isinstance(event, InstancesReceived)]
    assert (received.hospital, received.study_uid, received.has_edge) == ("secondary", "1.2.3", False)
    manifest = await read_manifest(objects, "staging", received.manifest_key)
    assert [entry.sop_class_uid for entry in manifest.instances] == [ENHANCED_SR]
    (stored,) = [event for _, event, _ in ingest_events.published if isinstance(event, AuditRecorded)]
    assert "doctor.secondary" in stored.model_dump_json()
    (annotated,) = [event for _, event, _ in gateway_events.published if isinstance(event, AuditRecorded)]
    assert (annotated.action, annotated.user, annotated.holder) == ("annotate", "doctor.secondary", "secondary")
