"""A hospital's DICOM workstation sees the region through its own edge agent: DCMTK's `findscu`, `movescu`, `getscu`."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pydicom

from imaging_common.testing.waiting import until
from imaging_native import ct
from imaging_native.applications import Person, application, of_study
from imaging_native.distributed import fill_pacs
from imaging_native.process import port_ready
from imaging_native.region import Region

SLICES = 6


async def run(*command: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 200)
    return output.decode(errors="replace")


def keys(*named: str) -> list[str]:
    return [part for key in named for part in ("-k", key)]


async def found(region: Region, hospital: str, study_uid: str, folder: Path) -> list[pydicom.Dataset]:
    """What the hospital's workstation finds of a study."""
    edge = region.state["edges"][hospital]
    answers = folder / f"find-{secrets.token_hex(4)}"
    answers.mkdir()
    await run(
        *("findscu", "-S", "-aec", edge["ae_title"], "-X", "-od", answers, "127.0.0.1", str(edge["services_port"])),
        *keys(
            "QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study_uid}", "PatientID", "NumberOfStudyRelatedInstances"
        ),
    )
    return [pydicom.dcmread(path, force=True) for path in answers.iterdir()]


async def until_found(region: Region, hospital: str, study_uid: str, folder: Path) -> pydicom.Dataset:
    async def all_there() -> bool:
        rows = await found(region, hospital, study_uid, folder)
        return [int(row.NumberOfStudyRelatedInstances) for row in rows] == [SLICES]

    await until(all_there, 120, f"the study at a workstation of {hospital}")
    (row,) = await found(region, hospital, study_uid, folder)
    return row


@asynccontextmanager
async def workstation(region: Region, folder: Path) -> AsyncIterator[Path]:
    """DCMTK's `storescp` where the edge agents send to."""
    station = region.state["workstation"]
    process = await asyncio.create_subprocess_exec(
        *("storescp", "-od", str(folder), "-aet", station["ae_title"], str(station["port"])),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def listens() -> bool:
        try:
            await port_ready(station["port"])()
        except Exception:
            return False
        return True

    try:
        await until(listens, what="the workstation")
        yield folder
    finally:
        process.terminate()
        await process.wait()


def pixels(files: Any) -> dict[str, bytes]:
    datasets = [pydicom.dcmread(path) for path in files]
    return {str(one.SOPInstanceUID): one.PixelData for one in datasets}


async def test_workstation_gets_another_hospitals_study_only_while_a_case_allows_it(
    region: Region, tmp_path: Path
) -> None:
    series = ct.write_series(tmp_path / "ct", slices=SLICES, seed=secrets.randbelow(10**9))
    await fill_pacs({**region.state["edges"]["community"], "dicomweb": ""}, series.files)
    own = await until_found(region, "community", series.study_uid, tmp_path)
    assert own.PatientID == ct.WANG.patient_id
    assert await found(region, "secondary", series.study_uid, tmp_path) == []
    body = application(studies=[of_study(series.study_uid, "community")], workstation=True)
    async with Person.signed_in(region, "doctor.community") as doctor:
        case = await doctor.apply(body)
        foreign = await until_found(region, "secondary", series.study_uid, tmp_path)
        assert foreign.PatientID == f"community:{ct.WANG.patient_id}"
        assert await found(region, "tertiary", series.study_uid, tmp_path) == []
        edge = region.state["edges"]["secondary"]
        (tmp_path / "moved").mkdir()
        async with workstation(region, tmp_path / "moved") as folder:
            output = await run(
                *("movescu", "-v", "-S", "-aec", edge["ae_title"], "-aem", region.state["workstation"]["ae_title"]),
                *("127.0.0.1", str(edge["services_port"])),
                *keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={series.study_uid}"),
            )
            assert pixels(folder.iterdir()) == pixels(series.files), output
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            assert dataset.PatientID == f"community:{ct.WANG.patient_id}"
            assert dataset.OtherPatientIDsSequence[0].PatientID == ct.WANG.patient_id
        assert (await doctor.act(case, "withdraw"))["state"] == "withdrawn"

        async def gone() -> bool:
            return await found(region, "secondary", series.study_uid, tmp_path) == []

        await until(gone, 60, "the end of the access")


async def test_workstation_gets_a_study_that_lies_in_a_pacs_without_dicomweb(region: Region, tmp_path: Path) -> None:
    series = ct.write_series(tmp_path / "ct", slices=SLICES, seed=secrets.randbelow(10**9))
    await fill_pacs(region.state["pacs"]["tcm"], series.files)
    await until_found(region, "tcm", series.study_uid, tmp_path)
    edge = region.state["edges"]["tcm"]
    (tmp_path / "got").mkdir()
    output = await run(
        *("getscu", "-v", "-S", "-aec", edge["ae_title"], "-od", tmp_path / "got"),
        *("127.0.0.1", str(edge["services_port"])),
        *keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={series.study_uid}"),
    )
    assert pixels((tmp_path / "got").iterdir()) == pixels(series.files), output
