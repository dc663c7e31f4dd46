"""Another holder's equal copy stands in for a hospital that is away: pixels only, and always said."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import orjson
import pydicom
import pytest
from fastapi import FastAPI, Request
from PIL import Image

from gateway.dicomweb import build_dicomweb_router
from gateway.retrievals.bounds import Bounds
from gateway.retrievals.edges import Edges
from gateway.retrievals.ports import FakeEdgeStore, FakeRetrievals
from gateway.retrievals.retriever import Retriever
from imaging_common.access import Grant, StudyRef, Subject
from imaging_common.audit import AuditTrail
from imaging_common.dicom.gate import check_instance
from imaging_common.events import EdgeHeartbeat, RetrieveRequested
from imaging_common.http import problems
from imaging_common.index.fake import FakeIndexReader
from imaging_common.messaging import FakePublisher
from imaging_common.objects.store import FakeObjectStore
from imaging_common.testing.waiting import until

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
STUDY, SERIES, SOP = "1.2.3", "1.2.3.1", "1.2.3.1.1"
ANY = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
INSTANCE = f"/studies/{STUDY}/series/{SERIES}/instances/{SOP}"
AWAY = '299 imaging-cloud "tertiary cannot be asked since 2026-11-24T08:00:00Z: edge-offline"'
STANDS_IN = f'{AWAY}, 299 imaging-cloud "the pixels come from {{}}, whose copy has the same pixels"'


def make(*, patient: str, shift: int = 0, rows: int = 8, **facts: Any) -> bytes:
    """A small CT file, as one of the holders has it."""
    ds = pydicom.Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", SOP
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.InstanceNumber = STUDY, SERIES, 1
    ds.Modality, ds.PatientID = "CT", patient
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", rows, 64 // rows
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    for name, value in facts.items():
        setattr(ds, name, value)
    ds.PixelData = (np.arange(64, dtype="<i2") + shift).tobytes()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


@dataclass
class World:
    """One instance at several holders; the doctor of the tertiary hospital takes part in cases with the others."""

    grants: tuple[str, ...] = ("community", "tcm")
    reader: FakeIndexReader = field(default_factory=FakeIndexReader)
    store: FakeObjectStore = field(default_factory=FakeObjectStore)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    now: datetime = NOW

    def __post_init__(self) -> None:
        async def subject_of(_: Request) -> Subject:
            grants = tuple(Grant(StudyRef(STUDY, holder), "case") for holder in self.grants)
            return Subject("doctor.tertiary", "tertiary", frozenset({"doctor"}), grants)

        index = self.reader.index()
        edges = Edges(FakeEdgeStore(), interval_seconds=10, clock=lambda: self.now)
        bounds = Bounds(frame=5.0, silence=5.0, poll=0.02, debounce=0.01, pause=0.01)
        self.retriever = Retriever(FakeRetrievals(), index, edges, self.publisher, bounds, clock=lambda: self.now)
        self.app = FastAPI()
        problems.install(self.app)
        audit = AuditTrail("gateway", self.publisher)
        router = build_dicomweb_router(index, self.store, subject_of, audit, self.retriever, self.publisher)
        self.app.include_router(router, prefix="/dicomweb")
        self.web = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://portal/dicomweb")

    async def holds(self, holder: str, data: bytes, bucket: str | None, *, seen: bool = True) -> None:
        """A holder has the file: its bytes in `bucket`, or (None) in its PACS only; `seen`: they were here once."""
        key, checked = f"{holder}/{STUDY}", check_instance(data)
        location: Any = None
        if bucket is not None:
            await self.store.put(bucket, f"{key}/1.batch", data)
            location = {
                "bucket": bucket, "key": f"{key}/1.batch", "encoding": "original", "offset": 0, "length": len(data),
                "original_length": len(data), "frames": [[list(r) for r in ranges] for ranges in checked.frames],
                "frame_transfer_syntax_uid": checked.transfer_syntax_uid,
            }  # fmt: skip
        names = {"study_uid": STUDY, "holder": holder, "study_key": key}
        self.reader.put(
            "instances",
            {"_id": f"{key}/{SOP}", **names, "series_uid": SERIES, "series_key": f"{key}/{SERIES}",
             "sop_instance_uid": SOP, "sop_class_uid": checked.sop_class_uid, "instance_number": 1,
             "transfer_syntax_uid": checked.transfer_syntax_uid, "sha256": checked.sha256 if seen else None,
             "pixel_sha256": checked.pixel_sha256 if seen else None, "location": location,
             "header": orjson.dumps(checked.header), "header_full": True},
        )  # fmt: skip
        counts = {"instance_count": 1, "online_count": int(bucket is not None), "header_count": 1}
        self.reader.put("series", {"_id": f"{key}/{SERIES}", **names, "series_uid": SERIES, "modality": "CT", **counts})
        self.reader.put(
            "studies",
            {"_id": key, "study_uid": STUDY, "holder": holder,
             "tier": "central" if bucket == "archive" else "distributed", "version": {"epoch": 0, "n": 1},
             "study_date": "20261120", "modalities": ["CT"], "series_count": 1, "updated_at": NOW, **counts},
        )  # fmt: skip

    async def answers(self, holder: str) -> None:
        """The hospital's edge agent is there."""
        heartbeat = EdgeHeartbeat(sequence=1, backlog_instances=0, backlog_bytes=0, spool_bytes=0,
                                  spool_limit_bytes=1, agent_version="0", sent_at=self.now)  # fmt: skip
        await self.retriever.edges.heard(holder, heartbeat)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.answers("tertiary")
    made.now += timedelta(seconds=31)
    async with made.app.router.lifespan_context(made.app):
        yield made
    await made.retriever.stop()
    await made.web.aclose()


async def test_pixels_of_an_equal_copy_are_given_and_said_whose_they_are(world: World) -> None:
    await world.holds("tertiary", make(patient="T-1"), None)
    await world.holds("community", make(patient="C-77"), "archive")
    answer = await world.web.get(f"{INSTANCE}/frames/1", headers=ANY)
    assert (answer.status_code, answer.headers["imaging-stored-in"]) == (200, "archive")
    assert answer.headers["warning"] == STANDS_IN.format("community")
    assert np.arange(64, dtype="<i2").tobytes() in answer.content
    metadata = await world.web.get(f"/studies/{STUDY}/series/{SERIES}/metadata")
    assert [one["00100020"]["Value"] for one in metadata.json()] == [["T-1"]], "the header is the holder's own"
    bulk = f"/studies/{STUDY}/series/{SERIES}/bulkdata/{SOP}"
    assert (await world.web.get(f"{bulk}/7FE00010")).headers["warning"] == STANDS_IN.format("community")
    assert (await world.web.get(f"{bulk}/00091010")).status_code == 503, "only pixels are the same"
    assert world.publisher.events("edge-commands-tertiary") == []


async def test_own_header_says_how_another_holders_pixels_are_shown(world: World) -> None:
    await world.holds("tertiary", make(patient="T-1", WindowCenter=1000, WindowWidth=10), None)
    await world.holds("community", make(patient="C-77", WindowCenter=-1000, WindowWidth=10), "archive")
    answer = await world.web.get(f"{INSTANCE}/rendered", headers={"Accept": "image/png"})
    assert answer.headers["warning"] == STANDS_IN.format("community")
    assert np.asarray(Image.open(io.BytesIO(answer.content))).max() == 0


@pytest.mark.parametrize(
    ("other", "seen"),
    [
        (make(patient="C-77", shift=1), True),  # other pixels
        (make(patient="C-77", rows=4), True),  # the same bytes, read as another picture
        (make(patient="C-77"), False),  # the tertiary hospital's own pixels were never seen
    ],
)
async def test_nothing_stands_in_for_pixels_that_may_differ(world: World, other: bytes, seen: bool) -> None:
    await world.holds("tertiary", make(patient="T-1"), None, seen=seen)
    await world.holds("community", other, "archive")
    answer = await world.web.get(f"{INSTANCE}/frames/1", headers=ANY)
    assert (answer.status_code, answer.headers["warning"]) == (503, AWAY)


async def test_nothing_stands_in_that_the_asker_may_not_see_or_did_not_ask_for(world: World) -> None:
    await world.holds("tertiary", make(patient="T-1"), None)
    await world.holds("community", make(patient="C-77"), "archive")
    named = await world.web.get(f"/hospitals/tertiary{INSTANCE}/frames/1", headers=ANY)
    assert (named.status_code, named.headers["warning"]) == (503, AWAY), "that holder was asked for"
    file = await world.web.get(INSTANCE, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert file.status_code == 503, "a file holds its holder's header"
    world.grants = ()
    foreign = await world.web.get(f"{INSTANCE}/frames/1", headers=ANY)
    assert (foreign.status_code, foreign.headers["warning"]) == (503, AWAY)


async def test_equal_copy_is_brought_from_another_hospitals_pacs(world: World) -> None:
    await world.answers("tcm")
    await world.holds("tertiary", make(patient="T-1"), None)
    await world.holds("tcm", make(patient="M-5"), None)
    answer = asyncio.create_task(world.web.get(f"{INSTANCE}/frames/1", headers=ANY))
    await until(lambda: bool(world.publisher.events("edge-commands-tcm")), 5)
    (request,) = world.publisher.events("edge-commands-tcm")
    assert isinstance(request, RetrieveRequested)
    await world.holds("tcm", make(patient="M-5"), "cache")
    assert ((await answer).status_code, (await answer).headers["warning"]) == (200, STANDS_IN.format("tcm"))


async def test_copy_that_is_another_picture_when_it_comes_does_not_stand_in(world: World) -> None:
    await world.answers("tcm")
    await world.holds("tertiary", make(patient="T-1"), None)
    await world.holds("tcm", make(patient="M-5"), None)
    answer = asyncio.create_task(world.web.get(f"{INSTANCE}/frames/1", headers=ANY))
    await until(lambda: bool(world.publisher.events("edge-commands-tcm")), 5)
    await world.holds("tcm", make(patient="M-5", shift=9), "cache")
    assert ((await answer).status_code, (await answer).headers["warning"]) == (503, AWAY)
