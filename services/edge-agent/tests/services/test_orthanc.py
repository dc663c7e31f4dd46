"""Orthanc as the asking station: it finds a foreign study at the services AE and has it sent to itself."""

from pathlib import Path
from typing import Any

import httpx

from imaging_common.testing.waiting import until
from imaging_native.pacs import OrthancPacs


async def test_orthanc_finds_and_retrieves_a_foreign_study(station: Any, study: Any, tmp_path: Path) -> None:
    foreign = study("secondary", "1001", "Li^Na=李^娜", slices=4)
    station.region.studies += [study("community", "1001", "王^小东"), foreign]
    port = int(station.settings.workstations.rpartition(":")[2])
    changes = {
        "DicomAet": "ORTHANC",
        "DicomPort": port,
        "DefaultEncoding": "Utf8",
        "DicomModalities": {"edge": ["COMMUNITY", "127.0.0.1", station.port]},
    }
    orthanc = OrthancPacs("station", tmp_path, {}, dicomweb=False, overrides=changes)
    orthanc.prepare()
    await orthanc.process.start()
    try:
        async with httpx.AsyncClient(base_url=orthanc.url, timeout=60) as client:
            asked = {"Level": "Study", "Query": {"PatientID": "secondary:*", "StudyDescription": "", "PatientName": ""}}
            query = (await client.post("/modalities/edge/query", json=asked)).raise_for_status().json()
            answers = (await client.get(f"{query['Path']}/answers?expand&simplify")).json()
            assert [one["StudyInstanceUID"] for one in answers] == [foreign.uid]
            assert answers[0]["PatientID"] == "secondary:1001"
            assert answers[0]["PatientName"] == "Li^Na=李^娜"
            job = await client.post(
                f"{query['Path']}/answers/0/retrieve", json={"TargetAet": "ORTHANC", "Asynchronous": False}
            )
            job.raise_for_status()

            async def arrived() -> bool:
                return len((await client.get("/instances")).json()) == 4

            await until(arrived, what="four instances in Orthanc")
            (patient,) = (await client.get("/patients?expand")).json()
            assert patient["MainDicomTags"]["PatientID"] == "secondary:1001"
    finally:
        await orthanc.process.stop()
