"""Studies in two hospitals' own PACS: listed without a pixel moved, opened on demand, truly refused when away."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from imaging_common.testing.waiting import until
from imaging_native import ct
from imaging_native.distributed import (
    ANY_FRAME,
    compare_frame,
    fill_pacs,
    frame_url,
    listed,
    retrieve_study,
    until_listed,
)
from imaging_native.region import Region
from imaging_native.session import portal_client

SLICES = 12
OFFLINE_SECONDS = 60.0
"""Three heartbeats of an edge agent, and some for a busy machine."""


@pytest.fixture
async def doctor(region: Region, hospital: str) -> AsyncIterator[httpx.AsyncClient]:
    client = await portal_client(region.state, f"doctor.{hospital}")
    yield client
    await client.aclose()


async def new_study(region: Region, hospital: str, doctor: httpx.AsyncClient, folder: Path) -> ct.Series:
    """A study that lies in the hospital's PACS, listed by the region, never opened."""
    series = await asyncio.to_thread(ct.write_series, folder, slices=SLICES, seed=secrets.randbelow(10**9))
    await fill_pacs(region.state["pacs"][hospital], series.files)
    row = await until_listed(doctor, series.study_uid, SLICES)
    assert (row["00080056"]["Value"], row["00080054"]["Value"]) == (["NEARLINE"], [hospital])
    return series


@pytest.mark.parametrize("hospital", ["tertiary", "tcm"])
async def test_never_seen_study_is_opened_and_then_lies_in_the_cache(
    region: Region, hospital: str, doctor: httpx.AsyncClient, tmp_path: Path
) -> None:
    series = await new_study(region, hospital, doctor, tmp_path)
    thumbnail = await doctor.get(f"/dicomweb/studies/{series.study_uid}/thumbnail", headers={"Accept": "image/jpeg"})
    assert thumbnail.status_code == 404
    middle = series.files[SLICES // 2]
    await compare_frame(doctor, series, middle)
    metadata = await doctor.get(f"/dicomweb/studies/{series.study_uid}/series/{series.series_uid}/metadata")
    assert (metadata.status_code, len(metadata.json())) == (200, SLICES)
    for file in series.files:
        await compare_frame(doctor, series, file)

    async def online() -> bool:
        row = await listed(doctor, series.study_uid)
        return row is not None and row["00080056"]["Value"] == ["ONLINE"]

    await until(online)
    retrievals: Any = region.client("root")["gateway"]["retrievals"]

    async def told() -> bool:
        found = await retrievals.find_one({"_id": f"{hospital}/{series.study_uid}"})
        return (found["state"], found["done"]) == ("done", found["total"])

    await until(told)


@pytest.mark.parametrize("hospital", ["tertiary", "tcm"])
async def test_whole_study_is_streamed_as_it_lands(
    region: Region, hospital: str, doctor: httpx.AsyncClient, tmp_path: Path
) -> None:
    series = await new_study(region, hospital, doctor, tmp_path)
    one, two = await asyncio.gather(*(retrieve_study(doctor, series.study_uid) for _ in range(2)))
    assert (one.status, two.status, one.warning) == (200, 200, "")
    assert len(one.pixels) == SLICES
    assert one.pixels == two.pixels


@pytest.mark.parametrize("hospital", ["tertiary"])
async def test_away_hospital_is_named_quickly_and_cached_images_are_served(
    region: Region, hospital: str, doctor: httpx.AsyncClient, tmp_path: Path
) -> None:
    cached = await new_study(region, hospital, doctor, tmp_path / "cached")
    assert (await retrieve_study(doctor, cached.study_uid)).status == 200
    absent = await new_study(region, hospital, doctor, tmp_path / "absent")
    await region.kill(f"edge-agent-{hospital}")
    try:

        async def offline() -> bool:
            row = await listed(doctor, absent.study_uid)
            return row is not None and row["00080056"]["Value"] == ["OFFLINE"]

        await until(offline, OFFLINE_SECONDS)
        started = time.monotonic()
        answer = await doctor.get(frame_url(absent, absent.files[0]), headers={"Accept": ANY_FRAME})
        assert time.monotonic() - started < 2
        assert answer.status_code == 503
        assert answer.headers["warning"].startswith(f'299 imaging-cloud "{hospital} cannot be asked since 20')
        assert answer.headers["retry-after"]
        await compare_frame(doctor, cached, cached.files[0])
        page = (await doctor.get("/portal/studies", headers={"Accept": "text/html"})).text
        assert 'data-testid="holder-away"' in page
    finally:
        await region.restart(f"edge-agent-{hospital}")
    await until(lambda: _asked_again(doctor, absent), OFFLINE_SECONDS)
    await compare_frame(doctor, absent, absent.files[0])


async def _asked_again(doctor: httpx.AsyncClient, series: ct.Series) -> bool:
    row = await listed(doctor, series.study_uid)
    return row is not None and row["00080056"]["Value"] == ["NEARLINE"]
