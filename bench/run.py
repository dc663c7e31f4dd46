"""Measures the region against Orthanc in one run; see README.md for what each figure is."""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import consults
import cost
import httpx
import qido
import retrieval
from peer import Orthanc
from reader import Reader

from imaging_native import ct
from imaging_native.region import Region
from imaging_native.session import portal_client

SLICES = 600
CONNECTIONS = 4
COSTS_AT = 4
"""Associations at which CPU time is counted."""
FRAME_ROUNDS_SECONDS = 8.0
AIMS = {
    "acknowledged-1": 8.0,
    "acknowledged-4": 3.0,
    "acknowledged-32": 0.7,
    "viewable-4": 2.0,
    "viewable-32": 0.5,
    "frames": 0.5,
    "series-metadata": 1.0,
}


async def dcmsend(files: list[Path], ae_title: str, port: int) -> None:
    """Send `files` over one association."""
    process = await asyncio.create_subprocess_exec(
        shutil.which("dcmsend") or "dcmsend",
        *("-aet", "MODALITY", "-aec", ae_title, "--decompress-never", "127.0.0.1", str(port)),
        *map(str, files),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    if await asyncio.wait_for(process.wait(), 600):
        raise RuntimeError(f"dcmsend to port {port} exited with {process.returncode}")


async def send(series: ct.Series, associations: int, ae_title: str, port: int) -> float:
    """Send the series over so many associations at once; seconds until the last one was closed."""
    shares = [list(series.files[i::associations]) for i in range(associations)]
    started = time.perf_counter()
    await asyncio.gather(*(dcmsend(share, ae_title, port) for share in shares))
    return time.perf_counter() - started


def frame_urls(series: ct.Series, seed: int) -> list[str]:
    """Paths of the first frame of every instance, below a DICOMweb root."""
    root = f"studies/{series.study_uid}/series/{series.series_uid}/instances"
    return [f"{root}/{ct.uid(seed, 'sop', n)}/frames/1" for n in range(1, len(series.files) + 1)]


async def fetch_all_when_viewable(reader: Reader, urls: list[str]) -> None:
    """Fetch every frame once, each as soon as it is there."""

    async def worker(mine: list[str]) -> None:
        for url in mine:
            while (status := await reader.get(f"/dicomweb/{url}", ANY_SYNTAX)) != 200:
                if status != 404:
                    raise RuntimeError(f"a frame was answered with {status}")
                await asyncio.sleep(0.1)

    async with asyncio.timeout(300):
        await asyncio.gather(*(worker(urls[i::CONNECTIONS]) for i in range(CONNECTIONS)))


ANY_SYNTAX = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
JSON = {"Accept": "application/dicom+json"}


async def per_second(ask: Callable[[int], Awaitable[None]], seconds: float) -> float:
    """How often `ask(n)` is answered per second, on four connections."""
    counter, started = 0, time.perf_counter()

    async def worker() -> None:
        nonlocal counter
        while time.perf_counter() - started < seconds:
            n, counter = counter, counter + 1
            await ask(n)

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return counter / (time.perf_counter() - started)


async def measure_reading(ours: Reader, peer: Reader, series: ct.Series, seed: int) -> dict[str, tuple[float, float]]:
    """Frames and series metadata per second, ours and the peer's in turn."""
    urls = frame_urls(series, seed)
    metadata = f"studies/{series.study_uid}/series/{series.series_uid}/metadata"
    results = {}
    for name, path_of, headers in (
        ("frames", lambda n: urls[n % len(urls)], ANY_SYNTAX),
        ("series-metadata", lambda n: metadata, JSON),
    ):
        figures = []
        for reader, root in ((ours, "/dicomweb/"), (peer, "/dicom-web/")):

            async def ask(n: int, reader: Reader = reader, root: str = root) -> None:
                status = await reader.get(root + path_of(n), headers)  # noqa: B023
                if status != 200:
                    raise RuntimeError(f"{name} was answered with {status}")  # noqa: B023

            await ask(0)
            figures.append(await per_second(ask, FRAME_ROUNDS_SECONDS))
        results[name] = (figures[0], figures[1])
    return results


async def measure_viewable(reader: Reader, edge: dict[str, Any], associations: int, seed: int, work: Path) -> float:
    """Seconds from the first byte of a series sent to the last instance's frame fetched through the gateway."""
    series = await asyncio.to_thread(ct.write_series, work / str(seed), slices=SLICES, seed=seed)
    started = time.perf_counter()
    viewing = asyncio.create_task(fetch_all_when_viewable(reader, frame_urls(series, seed)))
    await send(series, associations, edge["ae_title"], edge["dimse_port"])
    await viewing
    seconds = time.perf_counter() - started
    await until_stored(edge, series)
    shutil.rmtree(series.folder)
    return seconds


async def until_stored(edge: dict[str, Any], series: ct.Series) -> None:
    """Wait until the archive has the series, so that its packing does not run into the next measurement."""
    async with asyncio.timeout(300), httpx.AsyncClient(base_url=edge["http"], timeout=30) as agent:
        while True:
            rows = (await agent.get("/journal", params={"study": series.study_uid})).json()
            if len(rows) == SLICES and all(entry["state"] == "stored" for entry in rows):
                return
            await asyncio.sleep(0.5)


def row(name: str, ours: float, peer: float) -> dict[str, Any]:
    """One line of `results.json`; a ratio above 1 means ours is better."""
    return {
        "name": name,
        "ours": round(ours, 2),
        "peer": round(peer, 2),
        "ratio": round(ours / peer, 2),
        "unit": "1/s",
        "better": "higher",
        "aim": AIMS[name],
    }


async def main() -> None:
    """Run everything, print the table, write `results.json`."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="region-bench-") as name:
        work = Path(name)
        async with Region() as region, Orthanc(work / "orthanc") as peer:
            edge = region.state["edges"]["community"]
            client = await portal_client(region.state, "doctor.community")
            ours = Reader(region.portal, CONNECTIONS, {cookie.name: str(cookie.value) for cookie in client.cookies.jar})
            theirs = Reader(peer.url, CONNECTIONS)
            last: tuple[ct.Series, int] | None = None
            costs: list[dict[str, Any]] = []
            for seed, associations in ((9001, 1), (9004, 4), (9032, 32)):
                if last is not None:
                    shutil.rmtree(last[0].folder)
                series = await asyncio.to_thread(ct.write_series, work / str(seed), slices=SLICES, seed=seed)
                last = (series, seed)
                peers_cpu = cost.cpu_seconds(peer.pid)
                peer_seconds = await send(series, associations, "PEER", peer.dimse_port)
                peers_cpu, our_cpu = cost.cpu_seconds(peer.pid) - peers_cpu, cost.taken(region.state["pids"])
                our_seconds = await send(series, associations, edge["ae_title"], edge["dimse_port"])
                await until_stored(edge, series)
                if associations == COSTS_AT:
                    costs = cost.rows(our_cpu, cost.taken(region.state["pids"]), peers_cpu, SLICES)
                rows.append(row(f"acknowledged-{associations}", SLICES / our_seconds, SLICES / peer_seconds))
                if associations > 1:
                    viewable_seconds = await measure_viewable(ours, edge, associations, seed + 500, work)
                    rows.append(row(f"viewable-{associations}", SLICES / viewable_seconds, SLICES / peer_seconds))
                print(f"{associations} associations done", flush=True)
            if await peer.count() != 3 * SLICES:
                raise RuntimeError(f"Orthanc has {await peer.count()} instances, not {3 * SLICES}")
            assert last is not None
            rows += costs
            for figure, rates in (await measure_reading(ours, theirs, *last)).items():
                rows.append(row(figure, *rates))
            await client.aclose()
            # before the retrievals, whose studies are looked at in the background for minutes
            rows += await consults.measure(region, work)
            rows += await retrieval.measure(region, work)
        async with Region(services=["gateway"]) as region:
            rows += await qido.measure_growth(region)
    Path(__file__).with_name("results.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(f"\n{'figure':28}{'ours':>10}{'Orthanc':>10}{'ratio':>8}{'aim':>6}  unit")
    for line in rows:
        aim = line["aim"]
        verdict = "" if aim is None or line["ratio"] >= aim else "  below the aim"
        print(
            f"{line['name']:28}{line['ours']:>10}{line['peer']:>10}{line['ratio']:>8}{aim or '–':>6}"
            f"  {line['unit']}{verdict}"
        )


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
