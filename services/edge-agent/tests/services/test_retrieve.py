"""Objects of the region on a workstation: DCMTK's `movescu` and `getscu`, `storescp` as the one that is sent to."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as Move

from imaging_common.testing.waiting import until


@asynccontextmanager
async def storescp(station: Any, *options: str) -> AsyncIterator[Path]:
    """DCMTK's receiver as the workstation STORESCP; the folder it writes to."""
    folder = station.folder / f"received-{time.monotonic_ns()}"
    folder.mkdir()
    process = await asyncio.create_subprocess_exec(
        *("storescp", "-v", *options, "-od", str(folder), "-aet", "STORESCP", str(station.workstation_port)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def listens() -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", station.workstation_port)
            writer.close()
            return True
        return False

    try:
        await until(listens, what="storescp")
        yield folder
    finally:
        process.terminate()
        await process.wait()


def received(folder: Path) -> dict[str, Dataset]:
    files = [pydicom.dcmread(path) for path in folder.iterdir()]
    return {str(one.SOPInstanceUID): one for one in files}


def keys(*named: str) -> list[str]:
    return [part for key in named for part in ("-k", key)]


async def test_own_study_is_moved_as_it_is(station: Any, study: Any) -> None:
    own = study("community", "1001", "王^小东", slices=7)
    station.region.studies.append(own)
    async with storescp(station) as folder:
        output = await station.tool(
            "movescu", "-S", "-aem", "STORESCP", *keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={own.uid}")
        )
        assert "Received Final Move Response (Success)" in output
        assert output.count("(Pending)") >= 6
        got = received(folder)
    assert got.keys() == {str(one.SOPInstanceUID) for one in own.files}
    for one in own.files:
        assert got[str(one.SOPInstanceUID)] == one
    assert not list((station.settings.spool_dir / "outgoing").iterdir())


async def test_foreign_study_is_moved_with_a_coerced_patient_id_and_nothing_else_changed(
    station: Any, study: Any
) -> None:
    foreign = study("secondary", "1001", "Li^Na=李^娜")
    station.region.studies += [study("community", "1001", "王^小东"), foreign]
    async with storescp(station) as folder:
        await station.tool(
            "movescu", "-P", "-aem", "STORESCP", *keys("QueryRetrieveLevel=PATIENT", "PatientID=secondary:1001")
        )
        got = received(folder)
    assert got.keys() == {str(one.SOPInstanceUID) for one in foreign.files}
    for before in foreign.files:
        after = got[str(before.SOPInstanceUID)]
        assert (after.PatientID, after.IssuerOfPatientID) == ("secondary:1001", "REGION")
        assert [(i.PatientID, i.IssuerOfPatientID) for i in after.OtherPatientIDsSequence] == [("1001", "secondary")]
        (change,) = after.OriginalAttributesSequence
        assert (change.ReasonForTheAttributeModification, change.SourceOfPreviousValues) == ("COERCE", "secondary")
        assert change.ModifiedAttributesSequence[0].PatientID == "1001"
        for tag in ("PatientID", "IssuerOfPatientID", "OtherPatientIDsSequence", "OriginalAttributesSequence"):
            for dataset in (before, after):
                dataset.pop(tag, None)
        assert after == before


async def test_compressed_objects_go_as_stored_where_they_are_accepted_and_decompressed_elsewhere(
    station: Any, study: Any
) -> None:
    packed, plain = study("community", "1", "A", syntax=RLELossless), study("community", "1", "A")
    station.region.studies.append(packed)
    move = ("movescu", "-S", "-aem", "STORESCP", *keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={packed.uid}"))
    async with storescp(station, "+xa") as folder:
        await station.tool(*move)
        as_stored = received(folder)
    async with storescp(station) as folder:
        await station.tool(*move)
        unpacked = received(folder)
    assert as_stored.keys() == unpacked.keys() == {str(one.SOPInstanceUID) for one in packed.files}
    for before, pixels in zip(packed.files, plain.files, strict=True):
        uid = str(before.SOPInstanceUID)
        assert as_stored[uid].file_meta.TransferSyntaxUID == RLELossless
        assert as_stored[uid].PixelData == before.PixelData
        assert unpacked[uid].file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert unpacked[uid].PixelData == pixels.PixelData


async def test_series_and_instances_are_got_over_the_same_association(station: Any, study: Any) -> None:
    foreign = study("secondary", "9", "B", slices=5)
    station.region.studies.append(foreign)
    first = foreign.files[0]
    levels = {
        5: ("SERIES", f"SeriesInstanceUID={first.SeriesInstanceUID}"),
        1: ("IMAGE", f"SeriesInstanceUID={first.SeriesInstanceUID}", f"SOPInstanceUID={first.SOPInstanceUID}"),
    }
    for number, (level, *named) in levels.items():
        folder = station.folder / f"got-{level}"
        folder.mkdir()
        output = await station.tool(
            *("getscu", "-S", "-od", folder),
            *keys(f"QueryRetrieveLevel={level}", f"StudyInstanceUID={foreign.uid}", *named),
        )
        got = received(folder)
        assert len(got) == number, output
        assert {one.PatientID for one in got.values()} == {"secondary:9"}


async def test_unknown_destination_and_unknown_study_are_told(station: Any, study: Any) -> None:
    own = study("community", "1", "A")
    station.region.studies.append(own)
    named = keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={own.uid}")
    output = await station.tool("movescu", "-S", "-aem", "STRANGER", *named, ok=False)
    assert "MoveDestinationUnknown" in output
    output = await station.tool("movescu", "-S", "-aem", "STORESCP", *named, ok=False)
    assert "Refused: OutOfResourcesSubOperations" in output  # nobody listens there
    assert "(Success)" in await station.tool(
        "movescu", "-S", "-aem", "STORESCP", *keys("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3")
    )


async def test_only_what_is_missing_is_fetched_again_when_the_region_breaks_off(station: Any, study: Any) -> None:
    own = study("community", "1", "A", slices=6)
    station.region.studies.append(own)
    station.region.broken_after = 4
    async with storescp(station) as folder:
        await station.tool(
            "movescu", "-S", "-aem", "STORESCP", *keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={own.uid}")
        )
        assert len(received(folder)) == 6
    single = [path for path in station.region.asked if path.count("/instances/")]
    assert [path.rsplit("/")[-1] for path in single] == [str(one.SOPInstanceUID) for one in own.files[4:]]


async def test_cancelled_move_stops_and_the_region_learns_that_nobody_waits(station: Any, study: Any) -> None:
    own = study("community", "1", "A", slices=8)
    station.region.studies.append(own)
    station.region.pause = threading.Event()
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.StudyInstanceUID = "STUDY", own.uid
    async with storescp(station):
        status = await asyncio.to_thread(_move_and_cancel, station, asked)
    assert status.Status == 0xFE00
    assert (status.NumberOfRemainingSuboperations, status.NumberOfCompletedSuboperations) == (7, 1)
    await until(lambda: station.region.left == 1, what="the end of the region's answer")


def _move_and_cancel(station: Any, identifier: Dataset) -> Dataset:
    ae = AE("WORKSTATION")
    ae.add_requested_context(Move)
    association = ae.associate("127.0.0.1", station.port, ae_title="COMMUNITY")
    try:
        answers = association.send_c_move(identifier, "STORESCP", Move, msg_id=7)
        next(answers)
        association.send_c_cancel(7, query_model=Move)
        return [status for status, _ in answers][-1]
    finally:
        association.release()


async def test_station_that_vanishes_leaves_nothing_behind(station: Any, study: Any) -> None:
    own = study("community", "1", "A", slices=8)
    station.region.studies.append(own)
    station.region.pause = threading.Event()
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.StudyInstanceUID = "STUDY", own.uid
    async with storescp(station):
        await asyncio.to_thread(_move_and_vanish, station, asked)
        await until(lambda: station.region.left == 1, what="the end of the region's answer")
        outgoing = station.settings.spool_dir / "outgoing"
        await until(lambda: not list(outgoing.iterdir()), what="an empty folder")
    assert len(await station.find("QueryRetrieveLevel=STUDY", "StudyInstanceUID")) == 1


def _move_and_vanish(station: Any, identifier: Dataset) -> None:
    ae = AE("WORKSTATION")
    ae.add_requested_context(Move)
    association = ae.associate("127.0.0.1", station.port, ae_title="COMMUNITY")
    next(association.send_c_move(identifier, "STORESCP", Move))
    association.abort()


async def test_region_that_is_away_is_told_as_the_reason(station: Any, study: Any) -> None:
    station.region.status = 503
    named = keys("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3")
    output = await station.tool("movescu", "-S", "-aem", "STORESCP", *named, ok=False)
    assert "Refused: OutOfResourcesNumberOfMatches" in output
