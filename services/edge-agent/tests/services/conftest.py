"""The services AE as its own process, before it DCMTK's tools, behind it a stand-in of the region's DICOMweb."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid
from starlette.responses import JSONResponse, Response, StreamingResponse

from edge_agent.adapters.journal import Journal
from edge_agent.adapters.services_process import ServicesProcess
from edge_agent.adapters.spool import SpoolFolder
from edge_agent.settings import Settings
from imaging_common.dicom.association import listen
from imaging_common.index.names import name_pattern, parse_person_name
from imaging_common.testing.waiting import until

BULK = ("7FE00010",)
MATCHED = {"studies": "StudyDate AccessionNumber ModalitiesInStudy PatientName PatientID PatientBirthDate PatientSex "
           "StudyInstanceUID Modality StudyDescription", "series": "SeriesInstanceUID Modality SeriesNumber",
           "instances": "SOPInstanceUID SOPClassUID InstanceNumber"}  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Held:
    """A study at its holders; the first is shown."""

    holders: list[str]
    files: list[Dataset]
    resident: str = ""

    @property
    def uid(self) -> str:
        return str(self.files[0].StudyInstanceUID)


def make_study(
    holder: str, patient_id: str, name: str, *, slices: int = 2, syntax: str = ExplicitVRLittleEndian, size: int = 64,
    charset: str = "GB18030", date: str = "20261124", resident: str = "",
) -> Held:  # fmt: skip
    dataset = pydicom.dcmread(Path(pydicom.__file__).parent / "data/test_files/CT_small.dcm")
    del dataset[0xFFFCFFFC]
    study, series = generate_uid(), generate_uid()
    files = []
    for number in range(1, slices + 1):
        one = pydicom.dcmread(Path(pydicom.__file__).parent / "data/test_files/CT_small.dcm")
        del one[0xFFFCFFFC]
        one.OtherPatientIDsSequence = None
        one.SpecificCharacterSet = charset
        one.PatientID, one.PatientName, one.StudyInstanceUID, one.SeriesInstanceUID = patient_id, name, study, series
        one.StudyDate, one.InstanceNumber, one.SOPInstanceUID = date, number, generate_uid()
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.Rows = one.Columns = size
        one.PixelData = np.random.default_rng(number).integers(0, 4096, size * size, dtype=np.uint16).tobytes()
        if syntax == RLELossless:
            one.compress(RLELossless, generate_instance_uid=False)
        files.append(one)
    return Held([holder], files, resident)


def part10(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@dataclass
class RegionStandIn:
    """QIDO-RS and WADO-RS as the gateway gives them: strict about keys, one row a study, holders in (0008,0054)."""

    studies: list[Held] = field(default_factory=list)
    pause: threading.Event | None = None
    """Set: a retrieval stops after its first instance until this is set."""
    status: int = 0
    """Answer everything with it."""
    broken_after: int = -1
    """Break a study's stream off after so many instances."""
    hints: bool = True
    asked: list[str] = field(default_factory=list)
    left: int = 0
    """Retrievals whose reader went away."""

    def rows(self, level: str, holder: str | None, study: str, series: str, query: list[tuple[str, str]]) -> list[Any]:
        found = []
        resident = ""
        if ("IssuerOfPatientID", "EHR") in query:
            resident = dict(query)["PatientID"]
            query = [(key, value) for key, value in query if key not in ("PatientID", "IssuerOfPatientID")]
        for held in self.studies:
            if resident not in ("", held.resident):
                continue
            if (holder is not None and holder not in held.holders) or study not in ("", held.uid):
                continue
            units = {"studies": held.files[:1], "series": _firsts(held.files), "instances": held.files}[level]
            for one in units:
                if series not in ("", one.SeriesInstanceUID):
                    continue
                row = self._row(held, one, level)
                if all(_matches(row, one, level, key, value) for key, value in query):
                    found.append(row)
        return found

    def _row(self, held: Held, one: Dataset, level: str) -> dict[str, Any]:
        keywords = "StudyDate StudyTime AccessionNumber PatientName PatientID PatientBirthDate PatientSex StudyID " \
                   "StudyInstanceUID StudyDescription IssuerOfPatientID"  # fmt: skip
        if level != "studies":
            keywords += " SeriesInstanceUID Modality SeriesNumber BodyPartExamined"
        if level == "instances":
            keywords += " SOPInstanceUID SOPClassUID InstanceNumber"
        shown = Dataset()
        shown.SpecificCharacterSet = "ISO_IR 192"
        for keyword in keywords.split():
            if keyword in one:
                setattr(shown, keyword, one.get(keyword))
        shown.ModalitiesInStudy = ["CT"]
        shown.InstanceAvailability = "ONLINE"
        if level == "studies":
            shown.NumberOfStudyRelatedSeries, shown.NumberOfStudyRelatedInstances = 1, len(held.files)
        if level == "instances":
            shown.add_new(0x00083002, "UI", one.file_meta.TransferSyntaxUID)
        row: dict[str, Any] = shown.to_json_dict()
        if self.hints:
            row["00080054"] = {"vr": "AE", "Value": held.holders}
        if held.resident:
            item = {"00100020": {"vr": "LO", "Value": [held.resident]}, "00100021": {"vr": "LO", "Value": ["EHR"]}}
            row["00101002"] = {"vr": "SQ", "Value": [item]}
        return row

    def app(self) -> FastAPI:
        app = FastAPI()

        def search(request: Request, level: str, study: str = "", series: str = "") -> Response:
            self.asked.append(f"{request.url.path}?{request.url.query}")
            if self.status:
                raise HTTPException(self.status)
            pairs = request.query_params.multi_items()
            query = [(k, v) for k, v in pairs if k not in ("limit", "offset", "includefield")]
            numbers = dict(pairs)
            rows = self.rows(level, request.path_params.get("holder"), study, series, query)
            offset, limit = int(numbers.get("offset", 0)), int(numbers.get("limit", 100))
            page = rows[offset : offset + min(limit, 1000)]
            return JSONResponse(page, media_type="application/dicom+json") if page else Response(status_code=204)

        def files(request: Request, study: str, series: str = "", instance: str = "") -> Response:
            self.asked.append(request.url.path)
            if self.status:
                raise HTTPException(self.status)
            holder = request.path_params.get("holder")
            found = [
                one for held in self.studies if holder in (None, *held.holders) and held.uid == study
                for one in held.files
                if series in ("", one.SeriesInstanceUID) and instance in ("", one.SOPInstanceUID)
            ]  # fmt: skip
            if not found:
                raise HTTPException(404)
            return StreamingResponse(
                self._parts(request, found, whole=not instance),
                media_type='multipart/related; type="application/dicom"; boundary=b0undary',
            )

        for root in ("/dicomweb", "/dicomweb/hospitals/{holder}"):
            self._route(app, f"{root}/studies", lambda r, p: search(r, "studies"))
            self._route(app, f"{root}/studies/{{study}}/series", lambda r, p: search(r, "series", p["study"]))
            self._route(app, f"{root}/studies/{{study}}/instances", lambda r, p: search(r, "instances", p["study"]))
            path = f"{root}/studies/{{study}}/series/{{series}}"
            self._route(app, f"{path}/instances", lambda r, p: search(r, "instances", p["study"], p["series"]))
            self._route(app, f"{root}/studies/{{study}}", lambda r, p: files(r, p["study"]))
            self._route(app, path, lambda r, p: files(r, p["study"], p["series"]))
            one = f"{path}/instances/{{instance}}"
            self._route(app, one, lambda r, p: files(r, p["study"], p["series"], p["instance"]))
        return app

    @staticmethod
    def _route(app: FastAPI, path: str, answer: Any) -> None:
        async def endpoint(request: Request) -> Response:
            response: Response = answer(request, request.path_params)
            return response

        app.add_route(path, endpoint)

    async def _parts(self, request: Request, found: list[Dataset], *, whole: bool) -> AsyncIterator[bytes]:
        try:
            yield b"--b0undary\r\n"
            for number, one in enumerate(found):
                if whole and number == self.broken_after:
                    raise ConnectionResetError
                yield b"Content-Type: application/dicom\r\n\r\n" + part10(one) + b"\r\n--b0undary"
                yield b"--\r\n" if one is found[-1] else b"\r\n"
                while self.pause is not None and not self.pause.is_set():  # noqa: ASYNC110  (set by another thread)
                    await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.left += 1
            raise


def _firsts(files: list[Dataset]) -> list[Dataset]:
    return list({str(one.SeriesInstanceUID): one for one in reversed(files)}.values())


def _matches(row: dict[str, Any], one: Dataset, level: str, key: str, value: str) -> bool:
    if key not in " ".join(MATCHED.values()).split():
        raise HTTPException(400)
    if key == "ModalitiesInStudy":
        return value == "CT"
    if key.endswith("UID"):
        return str(one.get(key)) in re.split(r"[\\,]", value)
    known = str(one.get(key, ""))
    if key == "PatientName":
        return any(re.search(name_pattern(value, fuzzy=False), form) for form in parse_person_name(known).search)
    if key == "StudyDate":
        first, dash, last = value.partition("-")
        return (not first or known >= first) and (not (last or not dash) or known <= (last or first))
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in value), known) is not None


@dataclass
class Station:
    """The services AE with what stands around it."""

    region: RegionStandIn
    settings: Settings
    process: ServicesProcess
    journal: Journal
    hints: list[str]
    workstation_port: int
    folder: Path
    _runs: int = 0

    @property
    def port(self) -> int:
        return self.settings.services_port

    async def tool(self, name: str, *arguments: str | Path, ok: bool = True) -> str:
        """Run one of DCMTK's against the services AE."""
        output = await run(name, "-v", *arguments, "-aec", "COMMUNITY", "127.0.0.1", str(self.port))
        assert not ok or "E:" not in output, output
        return output

    async def find(self, *keys: str, model: str = "-S") -> list[Dataset]:
        """`findscu`; what it was answered."""
        self._runs += 1
        folder = self.folder / f"find-{self._runs}"
        folder.mkdir()
        named = [part for key in keys for part in ("-k", key)]
        output = await run(
            "findscu", "-v", model, "-aec", "COMMUNITY", *named, "-X", "-od", str(folder), "127.0.0.1", str(self.port)
        )
        assert "E:" not in output, output
        return [pydicom.dcmread(path, force=True) for path in sorted(folder.iterdir())]


async def run(*command: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode(errors="replace")


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Station]:
    """The services AE of hospital `community`, which may send to STORESCP and ORTHANC."""
    region, tmp_path = RegionStandIn(), tmp_path_factory.mktemp("services")
    server = uvicorn.Server(uvicorn.Config(region.app(), port=free_port(), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    workstation, orthanc = free_port(), free_port()
    settings = Settings(
        hospital="community",
        ae_title="COMMUNITY",
        allowed_callers="*@127.0.0.1",
        spool_dir=tmp_path / "spool",
        ingest_url="http://127.0.0.1:9",
        services_port=free_port(),
        gateway_url=f"http://127.0.0.1:{server.config.port}",
        workstations=f"STORESCP@127.0.0.1:{workstation},ORTHANC@127.0.0.1:{orthanc}",
        find_limit=20,
        commitment_wait_seconds=4,
        region_name="REGION",
    )
    settings.spool_dir.mkdir()
    journal = Journal(SpoolFolder(settings.spool_dir).journal_path)
    hints: list[str] = []
    process = ServicesProcess(settings, listen("127.0.0.1", settings.services_port), hints.append)
    task = asyncio.create_task(process.run())

    async def ready() -> bool:
        return server.started and process._ready.is_set()

    try:
        await until(ready, what="the services AE")
        yield Station(region, settings, process, journal, hints, workstation, tmp_path)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        process.close()
        journal.close()
        server.should_exit = True
        deadline = time.monotonic() + 10
        while thread.is_alive() and time.monotonic() < deadline:  # noqa: ASYNC110  (a thread has no event)
            await asyncio.sleep(0.02)


@pytest.fixture
async def station(running: Station) -> Station:
    """The same for each test, with a region without studies and nothing on its lists."""
    running.region.__dict__.update(RegionStandIn().__dict__)
    running.hints.clear()
    with running.journal.transaction() as db:
        for table in ("orders", "commitments", "instances"):
            db.execute(f"DELETE FROM {table}")
    await until(running.process._ready.is_set, what="the services AE")
    return running


@pytest.fixture
def study() -> Any:
    """Makes studies."""
    return make_study
