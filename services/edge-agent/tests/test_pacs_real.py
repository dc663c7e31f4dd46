"""The watch over PACSs that nobody here wrote: DCMTK's dcmqrscp (C-FIND only) and Orthanc (C-FIND, DICOMweb)."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage, generate_uid

from edge_agent.adapters.header_journal import HeaderJournal
from edge_agent.adapters.journal import Journal
from edge_agent.adapters.pacs.health import LastCall
from edge_agent.adapters.pacs.query_dimse import DimseQuery
from edge_agent.adapters.pacs.query_web import WebQuery
from edge_agent.adapters.pacs_journal import PacsJournal
from edge_agent.adapters.pacs_retrieve.choice import ChosenRetriever
from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.adapters.pacs_slots import PacsSlots
from edge_agent.errors import PacsUnreachable
from edge_agent.harvesting import PORTION
from edge_agent.main import EdgeAgent
from edge_agent.model import RetrievedFile
from edge_agent.pacs_model import StudyListing, StudyMatch
from edge_agent.settings import Settings
from edge_agent.usecases.harvest_headers import HeaderHarvest
from edge_agent.usecases.list_studies import StudyLister
from edge_agent.usecases.watch_pacs import PacsWatch
from imaging_common.dicom import check_instance
from imaging_common.events import EdgeHeartbeat, StudyAvailable, StudyWithdrawn
from imaging_common.messaging import FakePublisher
from imaging_common.objects.catalogue import Catalogue, catalogue_key, decode
from imaging_common.testing.waiting import until
from imaging_native.pacs import DcmqrscpPacs, OrthancPacs

SEND = shutil.which("dcmsend") or "dcmsend"
SAMPLE = Path(pydicom.__file__).parent / "data/test_files/CT_small.dcm"
NAMES = {"GB18030": "Wang^XiaoDong=王^小东", "ISO_IR 192": "Li^Si=李^四"}
Pacs = OrthancPacs | DcmqrscpPacs


class Door:
    def __init__(self) -> None:
        self.kept: dict[str, Catalogue] = {}

    async def put(self, study_uid: str, data: bytes) -> str:
        key = catalogue_key("tcm", study_uid, data)
        self.kept[key] = decode(data)
        return key


class Site:
    """One hospital: a PACS, and what watches it."""

    def __init__(self, root: Path, pacs: Pacs, **settings: Any) -> None:
        self.pacs = pacs
        self.root = root
        self.settings = Settings(
            hospital="tcm",
            ae_title="TCM",
            spool_dir=root,
            ingest_url="http://127.0.0.1:1",
            pacs_ae_title=pacs.ae_title,
            pacs_port=pacs.port,
            pacs_dicomweb_url=pacs.dicomweb_url,
            **{"pacs_timeout_seconds": 5, "pacs_sweep_seconds": 2, "pacs_backfill_per_minute": 60000, **settings},
        )
        self.slots, self.health = PacsSlots(2), LastCall()
        self.query = (WebQuery if pacs.dicomweb_url else DimseQuery)(self.settings, self.slots, self.health)
        self.journal = Journal(root / "journal.sqlite")
        self.known = PacsJournal(self.journal, "tcm")
        self.door = Door()
        self.headers = HeaderJournal(self.journal)
        self.watch = PacsWatch(self.settings, self.query, self.known, self.door, headers=self.headers)

    async def sweep(self) -> None:
        await self.watch.sweep()
        while await self.watch._announce_next():
            continue

    def said(self, study_uid: str) -> list[tuple[str, int]]:
        found = [one.event for one in self.journal.next_events(1000)]
        return [
            (type(one).__name__, one.announcement)
            for one in found
            if isinstance(one, StudyAvailable | StudyWithdrawn) and one.study_uid == study_uid
        ]

    def catalogue(self, study_uid: str) -> Catalogue:
        return [one for one in self.door.kept.values() if one.study_uid == study_uid][-1]

    async def send(self, *files: Path) -> None:
        command = [SEND, "-aet", "CT1", "-aec", self.pacs.ae_title, "127.0.0.1", str(self.pacs.port)]
        process = await asyncio.create_subprocess_exec(*command, *map(str, files))
        assert await asyncio.wait_for(process.wait(), 60) == 0


@asynccontextmanager
async def site(root: Path, pacs: Pacs, **settings: Any) -> AsyncIterator[Site]:
    pacs.prepare()
    await pacs.process.start()
    one = Site(root, pacs, **settings)
    try:
        yield one
    finally:
        await one.query.close()
        one.journal.close()
        await pacs.process.stop()


def write_study(folder: Path, charset: str = "GB18030", slices: int = 2, **facts: str) -> tuple[str, list[Path]]:
    """A small CT study with a Chinese name; (study UID, files)."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset = pydicom.dcmread(SAMPLE)
    del dataset[0xFFFCFFFC]
    dataset.SpecificCharacterSet = charset
    dataset.PatientName = NAMES[charset]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    for name, value in facts.items():
        setattr(dataset, name, value)
    dataset.Rows = dataset.Columns = 8
    dataset.PixelData = bytes(128)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    files = []
    for n in range(1, slices + 1):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.InstanceNumber = n
        files.append(folder / f"{dataset.SOPInstanceUID}.dcm")
        dataset.save_as(files[-1])
    return str(dataset.StudyInstanceUID), files


def dcmqrscp(root: Path) -> Pacs:
    return DcmqrscpPacs("tcm", root, {})


def orthanc(root: Path) -> Pacs:
    return OrthancPacs("tcm", root, {})


def orthanc_without_dicomweb(root: Path) -> Pacs:
    return OrthancPacs("tcm", root, {}, dicomweb=False, overrides={"LimitFindResults": 4, "DefaultEncoding": "Utf8"})


@pytest.mark.parametrize("make", [dcmqrscp, orthanc, orthanc_without_dicomweb])
async def test_watch_tells_the_truth_about_a_real_pacs(tmp_path: Path, make: Callable[[Path], Pacs]) -> None:
    async with site(tmp_path, make(tmp_path), pacs_find_limit=3) as one:
        studies = {}
        for n in range(7):
            charset = list(NAMES)[n % 2]
            facts = {"StudyDate": f"20{n + 10}0{n + 1}01" if n else "", "PatientID": f"10{n}"}
            studies[n], files = write_study(tmp_path / str(n), charset, **facts)
            await one.send(*files)
        await one.sweep()
        assert sorted(one.known.studies()) == sorted(studies.values())
        for n, study_uid in studies.items():
            assert one.said(study_uid) == [("StudyAvailable", 1)]
            name = dict(zip(("Alphabetic", "Ideographic"), NAMES[list(NAMES)[n % 2]].split("="), strict=True))
            assert one.catalogue(study_uid).study["00100010"]["Value"] == [name]
            assert len(one.catalogue(study_uid).instances) == 2
            assert one.catalogue(study_uid).series[0]["00080060"]["Value"] == ["CT"]

        _, (late,) = write_study(tmp_path / "late", slices=1, StudyInstanceUID=studies[2], PatientID="102")
        old_import, files = write_study(tmp_path / "old", StudyDate="20010203", PatientID="777")
        await one.send(late, *files)
        await one.sweep()
        await one.sweep()
        assert one.said(studies[2]) == [("StudyAvailable", 1), ("StudyAvailable", 2)]
        assert len(one.catalogue(studies[2]).instances) == 3
        assert one.said(old_import) == [("StudyAvailable", 1)]
        assert one.said(studies[3]) == [("StudyAvailable", 1)]

        await one.pacs.process.stop()
        with pytest.raises(PacsUnreachable):
            await one.sweep()
        assert one.health.state is not None
        assert not one.health.state[0]
        await one.pacs.process.start()
        await one.sweep()
        assert one.health.state[0]
        assert one.said(studies[3]) == [("StudyAvailable", 1)]


async def test_headers_from_the_pacs_are_those_of_the_files(tmp_path: Path) -> None:
    async with site(tmp_path, orthanc(tmp_path)) as one:
        study_uid, files = write_study(tmp_path / "files")
        await one.send(*files)
        await one.sweep()
        catalogue = one.catalogue(study_uid)
        expected = {checked.sop_instance_uid: checked.header for checked in map(check_instance, files)}
        assert {entry.sop_instance_uid for entry in catalogue.instances} == set(expected)
        for entry in catalogue.instances:
            assert entry.full
            assert entry.transfer_syntax_uid in (None, ExplicitVRLittleEndian)
            by_file = expected[entry.sop_instance_uid]
            for tag, attribute in by_file.items():  # Orthanc keeps every binary value apart, short ones too
                apart = {"vr": attribute["vr"], "BulkDataURI": f"bulkdata://{entry.sop_instance_uid}/{tag}"}
                assert entry.header[tag] == (apart if "InlineBinary" in attribute else attribute), tag
            assert entry.header.keys() == by_file.keys()


def write_note(folder: Path, study_uid: str, rejected: str) -> Path:
    """A rejection note (IHE RAD IOCM): a Key Object Selection with a title of CID 7011, in a study of `write_study`."""
    folder.mkdir(parents=True, exist_ok=True)
    note = pydicom.dcmread(SAMPLE)
    keep = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID")
    for element in list(note):
        if element.keyword not in keep:
            del note[element.tag]
    note.SpecificCharacterSet, note.PatientName, note.Modality = "GB18030", NAMES["GB18030"], "KO"
    note.SOPClassUID = note.file_meta.MediaStorageSOPClassUID = KeyObjectSelectionDocumentStorage
    note.SOPInstanceUID = note.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    note.StudyInstanceUID, note.SeriesInstanceUID = study_uid, generate_uid()
    note.InstanceNumber, note.SeriesNumber = 1, 99
    title, item, series, evidence = Dataset(), Dataset(), Dataset(), Dataset()
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = "113001", "DCM", "Rejected for Quality Reasons"
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", rejected
    series.SeriesInstanceUID, series.ReferencedSOPSequence = generate_uid(), [item]
    evidence.StudyInstanceUID, evidence.ReferencedSeriesSequence = study_uid, [series]
    note.ValueType, note.ContinuityOfContent = "CONTAINER", "SEPARATE"
    note.ConceptNameCodeSequence, note.CurrentRequestedProcedureEvidenceSequence = [title], [evidence]
    note.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / "note.dcm"
    note.save_as(path)
    return path


@pytest.mark.parametrize("make", [dcmqrscp, orthanc_without_dicomweb])
async def test_headers_are_harvested_from_a_pacs_that_gives_none(tmp_path: Path, make: Callable[[Path], Pacs]) -> None:
    async with site(tmp_path, make(tmp_path), pacs_header_instances_per_minute=6e9) as one:
        study_uid, files = write_study(tmp_path / "files", slices=9)
        await one.send(*files)
        await one.sweep()
        assert {entry.full for entry in one.catalogue(study_uid).instances} == {False}
        folder, running, loop = RetrieveFolder(tmp_path, 1 << 30), False, asyncio.get_running_loop()
        retriever = ChosenRetriever(one.settings, folder)
        harvest = HeaderHarvest(
            *(one.settings, one.headers, one.known, retriever, folder, one.slots),
            lambda file: read(file),
            lambda: running,
        )

        looked = False

        def somebody_looks() -> None:
            nonlocal running
            running = True
            harvest.make_way()

        def read(file: RetrievedFile) -> dict[str, Any]:
            nonlocal looked
            if not looked:
                looked = True
                loop.call_soon_threadsafe(somebody_looks)
            return check_instance(file.path, with_digests=False).header

        async def broken_off() -> bool:
            return not await harvest.step() and running

        async def nothing_left() -> bool:
            while await harvest.step():
                while await one.watch._announce_next():
                    continue
            return not one.headers.next_without_headers("", [])

        await until(broken_off, what="a portion that made way")
        assert len(one.headers.harvested(study_uid)) < PORTION
        running = False
        await until(nothing_left, what="all headers")
        expected = {checked.sop_instance_uid: checked.header for checked in map(check_instance, files)}
        assert {e.sop_instance_uid: e.header for e in one.catalogue(study_uid).instances if e.full} == expected
        await until(lambda: not list(folder.path.iterdir()), what="no pixel left at the edge")

        rejected = min(expected)
        await one.send(write_note(tmp_path / "note", study_uid, rejected))
        await one.sweep()
        await until(nothing_left, what="the note's header")
        left = {entry.sop_instance_uid for entry in one.catalogue(study_uid).instances}
        assert len(left) == 9
        assert left & expected.keys() == expected.keys() - {rejected}
        await retriever.close()


async def test_study_is_withdrawn_when_it_is_deleted_in_orthanc(tmp_path: Path) -> None:
    async with site(tmp_path, orthanc(tmp_path), pacs_withdraw_sweeps=2) as one:
        study_uid, files = write_study(tmp_path / "files")
        other, more = write_study(tmp_path / "more", "ISO_IR 192")
        await one.send(*files, *more)
        await one.sweep()
        assert isinstance(one.pacs, OrthancPacs)
        async with httpx.AsyncClient(base_url=one.pacs.url) as client:
            found = await client.post("/tools/lookup", content=study_uid)
            gone = next(entry for entry in found.json() if entry["Type"] == "Study")
            (await client.delete(gone["Path"])).raise_for_status()
        await one.sweep()
        await one.sweep()
        assert one.said(study_uid) == [("StudyAvailable", 1), ("StudyWithdrawn", 2)]
        assert one.said(other) == [("StudyAvailable", 1)]


async def test_find_goes_on_when_the_pacs_was_started_again_between_questions(tmp_path: Path) -> None:
    async with site(tmp_path, dcmqrscp(tmp_path)) as one:
        study_uid, files = write_study(tmp_path / "files")
        await one.send(*files)
        before = await one.query.studies(StudyMatch(patient_id="1CT1"))
        await one.pacs.process.stop()
        await one.pacs.process.start()
        after = await one.query.studies(StudyMatch(patient_id="1CT1"))
        assert [StudyListing.of(answer) for answer in before.studies] == [
            StudyListing.of(answer) for answer in after.studies
        ]
        assert after.studies[0]["0020000D"]["Value"] == [study_uid]
        assert after.complete


async def test_qido_pages_are_read_to_the_end(tmp_path: Path) -> None:
    async with site(tmp_path, orthanc(tmp_path), pacs_find_limit=2) as one:
        for n in range(5):
            _, files = write_study(tmp_path / str(n), slices=1, StudyDate="")
            await one.send(*files)
        lister = StudyLister(one.query, 2)
        await lister.list_all()
        assert len(lister.studies) == 5
        assert {listing.instance_count for listing in lister.studies.values()} == {1}


async def test_agent_announces_its_pacs_and_says_how_they_get_on(tmp_path: Path) -> None:
    pacs = dcmqrscp(tmp_path)
    async with site(tmp_path, pacs) as one:
        study_uid, files = write_study(tmp_path / "files")
        await one.send(*files)
        settings = one.settings.model_copy(
            update={"spool_dir": tmp_path / "spool", "dimse_port": 0, "heartbeat_seconds": 0.1, "receivers": 0}
        )
        publisher = FakePublisher()
        agent = EdgeAgent(settings, publisher, catalogues=Door())
        task = asyncio.create_task(agent.run())

        def told() -> bool:
            beats = [event for event in publisher.events("edge-events-tcm") if isinstance(event, EdgeHeartbeat)]
            state = beats[-1].pacs if beats else None
            return state is not None and state.reachable and state.studies == 1 and state.last_sweep_at is not None

        def announced() -> list[str]:
            return [e.study_uid for e in publisher.events("edge-events-tcm") if isinstance(e, StudyAvailable)]

        try:
            await until(told, what="a heartbeat that tells of the PACS")
            await until(lambda: announced() == [study_uid], what="the announcement")
            assert agent.pacs is not None
            assert len(agent.pacs.contents.instances(study_uid)) == 2
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            agent.close()
