"""DICOMweb of a study that lies in a hospital's own PACS: it is brought, streamed as it lands, or truly refused."""

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

from gateway.dicomweb import build_dicomweb_router
from gateway.errors import HolderAway
from gateway.retrievals.bounds import Bounds
from gateway.retrievals.edges import Edges
from gateway.retrievals.ports import FakeEdgeStore, FakeRetrievals
from gateway.retrievals.retriever import Retriever
from imaging_common.access import Subject
from imaging_common.audit import AuditTrail
from imaging_common.dicom.gate import check_instance
from imaging_common.events import EdgeHeartbeat, RetrieveFailed, RetrieveRequested, StudyOpened
from imaging_common.http import problems
from imaging_common.index.fake import FakeIndexReader
from imaging_common.messaging import FakePublisher
from imaging_common.objects.store import FakeObjectStore
from imaging_common.testing.metrics import Counted
from imaging_common.testing.waiting import until

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
DOCTOR = Subject("doctor.tertiary", "tertiary", frozenset({"doctor"}))
STUDY, SERIES = "1.2.3", "1.2.3.1"
KEY = f"tertiary/{STUDY}"
FRAME = f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.{{}}/frames/1"
ANY = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
FILES = {"Accept": "multipart/related; type=application/dicom; transfer-syntax=*"}
OFFLINE = '299 imaging-cloud "tertiary cannot be asked since 2026-11-24T08:00:00Z: edge-offline"'


def make(number: int) -> bytes:
    """A small CT file."""
    ds = pydicom.Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"{SERIES}.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.InstanceNumber = STUDY, SERIES, number
    ds.StudyDate, ds.Modality, ds.PatientID = "20261120", "CT", "P-1"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 8, 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelData = (np.arange(64, dtype="<i2") + number).tobytes()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


@dataclass
class World:
    """A hospital with three images in its PACS, and the gateway."""

    reader: FakeIndexReader = field(default_factory=FakeIndexReader)
    store: FakeObjectStore = field(default_factory=FakeObjectStore)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    now: datetime = NOW
    landed: int = 0

    def __post_init__(self) -> None:
        async def subject_of(_: Request) -> Subject:
            return DOCTOR

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
        for number in (1, 2, 3):
            self.announce(number)

    def announce(self, number: int) -> None:
        """The PACS says that it has this image; its header is what C-FIND gave."""
        self._put(number, location=None, sha256=None, header={"00200013": {"vr": "IS", "Value": [number]}})

    async def land(self, number: int) -> None:
        """The image comes into the cache tier."""
        self.landed += 1
        data, checked = make(number), check_instance(make(number))
        key = f"{KEY}/{self.landed}.batch"
        await self.store.put("cache", key, data)
        location = {
            "bucket": "cache", "key": key, "encoding": "original", "offset": 0, "length": len(data),
            "original_length": len(data), "frames": [[list(r) for r in ranges] for ranges in checked.frames],
            "frame_transfer_syntax_uid": checked.transfer_syntax_uid,
        }  # fmt: skip
        self._put(number, location=location, sha256=checked.sha256, header=checked.header)

    def _put(self, number: int, *, location: Any, sha256: str | None, header: Any) -> None:
        names = {"study_uid": STUDY, "holder": "tertiary", "study_key": KEY}
        self.reader.put(
            "instances",
            {"_id": f"{KEY}/{SERIES}.{number}", **names, "series_uid": SERIES, "series_key": f"{KEY}/{SERIES}",
             "sop_instance_uid": f"{SERIES}.{number}", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
             "instance_number": number, "transfer_syntax_uid": "1.2.840.10008.1.2.1", "sha256": sha256,
             "pixel_sha256": sha256, "location": location, "header": orjson.dumps(header),
             "header_full": location is not None},
        )  # fmt: skip
        here = sum(d["location"] is not None for d in self.reader.collections["instances"].values())
        counts = {"instance_count": 3, "online_count": here, "header_count": here}
        self.reader.put("series", {"_id": f"{KEY}/{SERIES}", **names, "series_uid": SERIES, "modality": "CT", **counts})
        self.reader.put(
            "studies",
            {"_id": KEY, "study_uid": STUDY, "holder": "tertiary", "tier": "distributed",
             "version": {"epoch": 0, "n": here}, "study_date": "20261120", "modalities": ["CT"], "series_count": 1,
             "updated_at": NOW, "patient": {"id": "P-1"}, **counts},
        )  # fmt: skip

    @property
    def requests(self) -> list[RetrieveRequested]:
        return [e for e in self.publisher.events("edge-commands-tertiary") if isinstance(e, RetrieveRequested)]

    async def asked(self) -> None:
        """The hospital was asked."""
        await until(lambda: bool(self.requests), 5)

    def failure(self, reason: Any) -> RetrieveFailed:
        """The hospital gives up what it was asked for."""
        return RetrieveFailed(
            retrieval_id=self.requests[0].retrieval_id,
            study_uid=STUDY,
            reason=reason,
            instances_done=0,
            instances_missing=3,
            at=NOW,
        )

    def offline(self) -> None:
        """The hospital has been silent for half a minute and more."""
        self.now += timedelta(seconds=31)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    heartbeat = EdgeHeartbeat(sequence=1, backlog_instances=0, backlog_bytes=0, spool_bytes=0, spool_limit_bytes=1,
                              agent_version="0", sent_at=NOW)  # fmt: skip
    await made.retriever.edges.heard("tertiary", heartbeat)
    async with made.app.router.lifespan_context(made.app):
        yield made
    await made.retriever.stop()
    await made.web.aclose()


async def test_frame_is_brought_from_the_hospital_and_the_rest_of_the_study_is_wanted_after_it(world: World) -> None:
    brought, hit = (Counted("imaging_instances_served_total", hospital="tertiary", source=s) for s in ("pacs", "cache"))
    answer = asyncio.create_task(world.web.get(FRAME.format(2), headers=ANY))
    await world.asked()
    assert (world.requests[0].first, world.requests[0].series[0].series_uid) == ([f"{SERIES}.2"], SERIES)
    await world.land(2)
    assert (await answer).status_code == 200
    assert make(2)[-128:] in (await answer).content
    assert (await answer).headers["imaging-stored-in"] == "cache"
    (opened,) = world.publisher.events("study-used")
    assert isinstance(opened, StudyOpened)
    assert (brought.grown, hit.grown) == (1, 0)
    await world.web.get(FRAME.format(2), headers=ANY)
    assert (brought.grown, hit.grown) == (1, 1)


async def test_study_is_streamed_as_it_lands(world: World) -> None:
    await world.land(3)
    answer = asyncio.create_task(world.web.get(f"/studies/{STUDY}", headers=FILES))
    await world.asked()
    for number in (2, 1):
        await world.land(number)
    got = await answer
    assert (got.status_code, got.content.count(b"Content-Type: application/dicom")) == (200, 3)


async def test_answer_breaks_off_when_the_hospital_gives_up_after_the_first_byte(world: World) -> None:
    await world.land(1)
    answer = asyncio.create_task(world.web.get(f"/studies/{STUDY}", headers=FILES))
    await world.asked()
    await world.land(2)
    await world.retriever.failed("tertiary", world.failure("pacs-unreachable"))
    with pytest.raises(RuntimeError, match="response already started") as broken:
        await answer
    assert isinstance(broken.value.__cause__, HolderAway)
    assert world.retriever._desks[KEY].people == 0
    assert world.retriever._desks[KEY].waiting == []


async def test_metadata_waits_for_whole_headers(world: World) -> None:
    await world.land(1)
    answer = asyncio.create_task(world.web.get(f"/studies/{STUDY}/series/{SERIES}/metadata"))
    await world.asked()
    await world.land(2)
    await world.land(3)
    assert [one["00280010"]["Value"] for one in (await answer).json()] == [[8], [8], [8]]


async def test_list_of_thumbnails_brings_nothing(world: World) -> None:
    for path in (f"/studies/{STUDY}/thumbnail", f"/studies/{STUDY}/series/{SERIES}/thumbnail"):
        assert (await world.web.get(path)).status_code == 404
    assert world.requests == []
    await world.land(1)
    assert (await world.web.get(f"/studies/{STUDY}/thumbnail")).status_code == 200
    assert world.publisher.events("study-used") == []


async def test_offline_hospital_is_told_at_once_and_what_is_cached_is_served(world: World) -> None:
    await world.land(1)
    world.offline()
    assert (await world.web.get(FRAME.format(1), headers=ANY)).status_code == 200
    refused = await world.web.get(FRAME.format(2), headers=ANY)
    assert (refused.status_code, refused.headers["warning"]) == (503, OFFLINE)
    assert refused.headers["retry-after"]
    assert (refused.json()["holder"], refused.json()["reason"]) == ("tertiary", "edge-offline")
    part = await world.web.get(f"/studies/{STUDY}", headers=FILES)
    assert (part.status_code, part.headers["warning"]) == (206, OFFLINE)
    assert part.content.count(b"Content-Type: application/dicom") == 1
    metadata = await world.web.get(f"/studies/{STUDY}/metadata")
    assert (metadata.status_code, len(metadata.json()), metadata.headers["warning"]) == (200, 1, OFFLINE)
    assert world.requests == []


async def test_nothing_cached_of_an_offline_hospital_is_unavailable(world: World) -> None:
    world.offline()
    for path, headers in ((f"/studies/{STUDY}", FILES), (f"/studies/{STUDY}/metadata", {})):
        answer = await world.web.get(path, headers=headers)
        assert (answer.status_code, answer.headers["warning"]) == (503, OFFLINE), path


async def test_search_says_what_can_be_had_and_whom_it_could_not_ask(world: World) -> None:
    async def availability(path: str) -> list[str]:
        answer = await world.web.get(path)
        return [row["00080056"]["Value"][0] for row in answer.json()]

    assert await availability("/studies") == ["NEARLINE"]
    await world.land(1)
    assert await availability(f"/studies/{STUDY}/instances") == ["ONLINE", "NEARLINE", "NEARLINE"]
    world.offline()
    answer = await world.web.get("/studies")
    assert answer.headers["warning"] == OFFLINE
    (row,) = answer.json()
    assert (row["00080056"]["Value"], row["00080054"]["Value"]) == (["OFFLINE"], ["tertiary"])
    await world.land(2)
    await world.land(3)
    assert await availability(f"/studies/{STUDY}/series") == ["ONLINE"]
    assert "warning" not in (await world.web.get(f"/studies/{STUDY}/series")).headers
    newer = await world.web.get("/studies")
    assert newer.headers["warning"] == OFFLINE, "what the hospital has got since is not in the list"


async def test_study_that_is_gone_is_gone(world: World) -> None:
    answer = asyncio.create_task(world.web.get(FRAME.format(1), headers=ANY))
    await world.asked()
    await world.retriever.failed("tertiary", world.failure("study-gone"))
    assert ((await answer).status_code, "study-gone" in (await answer).headers["warning"]) == (410, True)
    (row,) = (await world.web.get("/studies")).json()
    assert row["00080056"]["Value"] == ["UNAVAILABLE"]


async def test_evicted_image_is_brought_again(world: World) -> None:
    await world.land(1)
    assert (await world.web.get(FRAME.format(1), headers=ANY)).status_code == 200
    await world.store.delete("cache", f"{KEY}/1.batch")
    world.announce(1)
    answer = asyncio.create_task(world.web.get(FRAME.format(1), headers=ANY))
    await world.asked()
    await world.land(1)
    assert (await answer).status_code == 200
