"""A PACS without DICOMweb: its headers are in the centre before anybody looks; opening asks for pixels only."""

import asyncio
import secrets
from pathlib import Path

from imaging_native import ct
from imaging_native.asking import until
from imaging_native.distributed import compare_frame, fill_pacs, listed, until_listed
from imaging_native.region import Region
from imaging_native.session import portal_client

SLICES = 6


async def test_metadata_of_a_never_opened_study_is_answered_without_asking_its_hospital(
    region: Region, tmp_path: Path
) -> None:
    doctor = await portal_client(region.state, "doctor.tcm")
    series = await asyncio.to_thread(ct.write_series, tmp_path, slices=SLICES, seed=secrets.randbelow(10**9))
    await fill_pacs(region.state["pacs"]["tcm"], series.files)
    await until_listed(doctor, series.study_uid, SLICES)
    database = region.client("root")
    key = f"tcm/{series.study_uid}"

    async def harvested() -> bool:
        study = await database["index"]["studies"].find_one({"_id": key})
        return bool(study["header_count"] == SLICES)

    await until(harvested, "the headers")
    metadata = await doctor.get(f"/dicomweb/studies/{series.study_uid}/metadata")
    assert (metadata.status_code, len(metadata.json())) == (200, SLICES)
    assert {one["00280010"]["Value"][0] for one in metadata.json()} == {512}
    row = await listed(doctor, series.study_uid)
    assert row is not None
    assert row["00080056"]["Value"] == ["NEARLINE"], "no pixel came"
    assert await database["gateway"]["retrievals"].find_one({"_id": key}) is None
    await compare_frame(doctor, series, series.files[SLICES // 2])
    await doctor.aclose()
