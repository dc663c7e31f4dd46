"""Two hospitals hold one study: when the one whose copy is shown is away, the other's equal pixels stand in."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from imaging_native import ct
from imaging_native.applications import Person, application, of_study
from imaging_native.asking import until
from imaging_native.distributed import (
    ANY_FRAME,
    JSON,
    compare_frame,
    fill_pacs,
    frame_url,
    retrieve_study,
    until_listed,
)
from imaging_native.region import Region
from imaging_native.session import portal_client

SLICES = 4
TIGHT = {
    "OBJECT_WRITER_CACHE_BYTES": "1",
    "OBJECT_WRITER_CACHE_SECONDS": "0.2",
    "OBJECT_WRITER_CACHE_IN_USE_SECONDS": "0",
    "OBJECT_WRITER_CACHE_ARRIVING_SECONDS": "0",
}


@pytest.fixture
async def doctors(region: Region) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Of the community hospital and of the tertiary one."""
    clients = [await portal_client(region.state, f"doctor.{one}") for one in ("community", "tertiary")]
    yield clients[0], clients[1]
    for client in clients:
        await client.aclose()


async def availability(doctor: httpx.AsyncClient, holder: str, study_uid: str) -> str:
    """What one holder's root says of a study; empty: it does not list it."""
    root = f"/dicomweb/hospitals/{holder}/studies"
    answer = await doctor.get(root, params={"StudyInstanceUID": study_uid}, headers={"Accept": JSON})
    return str(answer.json()[0]["00080056"]["Value"][0]) if answer.status_code == 200 else ""


async def test_equal_pixels_of_another_hospital_stand_in_for_one_that_is_away(
    region: Region, doctors: tuple[httpx.AsyncClient, httpx.AsyncClient], tmp_path: Path
) -> None:
    community, tertiary = doctors
    series = await asyncio.to_thread(ct.write_series, tmp_path, slices=SLICES, seed=secrets.randbelow(10**9))
    await fill_pacs(region.state["pacs"]["tertiary"], series.files)
    await fill_pacs({**region.state["edges"]["community"], "dicomweb": ""}, series.files)
    await until_listed(community, series.study_uid, SLICES)
    await until_listed(tertiary, series.study_uid, SLICES)
    assert len((await retrieve_study(tertiary, series.study_uid)).pixels) == SLICES
    await until(lambda: _is(tertiary, "tertiary", series, "ONLINE"), "the tertiary hospital's copy in the cache")
    studies = [of_study(series.study_uid, "community")]
    async with Person.signed_in(region, "doctor.community") as applicant:
        await applicant.apply(application(consultant_hospital="tertiary", studies=studies))
    await until(lambda: _is(tertiary, "community", series, "ONLINE"), "the case's grant")

    writer = region.processes["object-writer"]
    await writer.stop()
    writer.extra_env = TIGHT
    await writer.start()
    try:
        await until(lambda: _is(tertiary, "tertiary", series, "NEARLINE"), "the cached copy's eviction")
        await region.kill("edge-agent-tertiary")
        await until(lambda: _is(tertiary, "tertiary", series, "OFFLINE"), "word that the hospital is away")
        for file in series.files:
            await compare_frame(tertiary, series, file)
        answer = await tertiary.get(frame_url(series, series.files[0]), headers={"Accept": ANY_FRAME})
        away, _, other = answer.headers["warning"].partition(", ")
        assert away.startswith('299 imaging-cloud "tertiary cannot be asked')
        assert other == '299 imaging-cloud "the pixels come from community, whose copy has the same pixels"'
        named = frame_url(series, series.files[0]).replace("/dicomweb", "/dicomweb/hospitals/tertiary")
        assert (await tertiary.get(named, headers={"Accept": ANY_FRAME})).status_code == 503
    finally:
        await region.restart("edge-agent-tertiary")
        await writer.stop()
        writer.extra_env = {}
        await writer.start()
    await until(lambda: _is(tertiary, "tertiary", series, "NEARLINE"), "the hospital back")
    again = await tertiary.get(frame_url(series, series.files[0]), headers={"Accept": ANY_FRAME}, timeout=60)
    assert (again.status_code, again.headers.get("warning")) == (200, None)


async def _is(doctor: httpx.AsyncClient, holder: str, series: ct.Series, wanted: str) -> bool:
    return await availability(doctor, holder, series.study_uid) == wanted
