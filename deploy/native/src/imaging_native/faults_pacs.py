"""Faults of the distributed tier: PACS, edge agent and the link between hospital and centre, in mid-retrieval.

Each scenario ends with the same ledger: every instance in the PACS is listed exactly once and its pixels come back;
while something was away the viewer was told so, quickly and with the time since when.
"""

import asyncio
import random
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pydicom
from aiokafka import AIOKafkaConsumer

from imaging_native import ct
from imaging_native.asking import until
from imaging_native.distributed import compare_frame, fill_pacs, frame_url, listed, retrieve_study, until_listed
from imaging_native.region import Region
from imaging_native.session import portal_client

SLICES = 200
BYTES_PER_SECOND = 16_000_000
"""What may leave each hospital for retrievals, and lie on its way in the agent: so little that a fault meets a study
of 105 MB when a part of it has come and another is still in the PACS."""
LINK_STUDIES = 500
TOLD_WITHIN_SECONDS = 20.0
"""An answer that takes longer than this counts as hanging."""
USERS = {"tertiary": "doctor.tertiary", "tcm": "doctor.tcm"}
Scenario = Callable[[Region, str, random.Random, Path], Awaitable[str]]


class Bench:
    """One study in one hospital's PACS, and a doctor who looks at it."""

    def __init__(self, region: Region, hospital: str, seed: int, work: Path) -> None:
        self.region = region
        self.hospital = hospital
        self.pacs = region.state["pacs"][hospital]
        self.pacs_process = f"pacs-{hospital}"
        self.edge_process = f"edge-agent-{hospital}"
        self._index = region.client("root")["index"]
        self._seed = seed
        self._work = work / f"{hospital}-{seed}"
        self.series: ct.Series
        self.client: httpx.AsyncClient

    async def __aenter__(self) -> "Bench":
        self.client = await portal_client(self.region.state, USERS[self.hospital])
        self.series = await asyncio.to_thread(ct.write_series, self._work, slices=SLICES, seed=self._seed)
        await fill_pacs(self.pacs, self.series.files)
        await until_listed(self.client, self.series.study_uid, SLICES)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        shutil.rmtree(self._work, ignore_errors=True)

    async def cached(self) -> int:
        """Instances whose bytes are in the centre now."""
        where = {"study_uid": self.series.study_uid, "holder": self.hospital, "location": {"$ne": None}}
        return int(await self._index.instances.count_documents(where))

    async def begin(self) -> None:
        """Open the study; return when some but not all of it has come."""
        url = frame_url(self.series, self.series.files[0])
        self._viewing = asyncio.create_task(self.client.get(url, timeout=120))

        async def some() -> bool:
            return await self.cached() >= SLICES // 10

        await until(some, "a tenth of the study in the centre")

    async def told(self, reason: str) -> float:
        """An instance that is not here is answered with an error that names the holder; seconds that took."""
        where = {"study_uid": self.series.study_uid, "holder": self.hospital, "location": None}

        async def answered() -> float | None:
            missing = await self._index.instances.find_one(where, {"sop_instance_uid": 1})
            if missing is None:
                raise AssertionError("the whole study had come before the fault: nothing could be told")
            root = f"/dicomweb/studies/{self.series.study_uid}/series/{self.series.series_uid}"
            started = time.perf_counter()
            answer = await self.client.get(f"{root}/instances/{missing['sop_instance_uid']}/frames/1", timeout=60)
            seconds = time.perf_counter() - started
            if answer.status_code == 503 and self.hospital in answer.headers.get("warning", ""):
                return max(seconds, 0.001)
            return None

        seconds: float = await until(answered, f"the viewer being told that {reason}")
        if seconds > TOLD_WITHIN_SECONDS:
            raise AssertionError(f"the answer that says that {reason} took {seconds:.1f} s")
        return seconds

    async def whole(self) -> None:
        """Everything comes, with the pixels in the PACS, and is listed once."""
        wanted = {}
        for file in self.series.files:
            dataset = await asyncio.to_thread(pydicom.dcmread, file)
            wanted[str(dataset.SOPInstanceUID)] = dataset.PixelData

        async def all_there() -> bool:
            result = await retrieve_study(self.client, self.series.study_uid)
            return result.status == 200 and result.pixels == wanted

        await until(all_there, "the whole study with the pixels in the PACS")
        answer = await self.client.get(f"/dicomweb/studies/{self.series.study_uid}/instances?limit=1000")
        rows = [row["00080018"]["Value"][0] for row in answer.json()]
        if sorted(rows) != sorted(wanted):
            raise AssertionError(f"{len(rows)} instances are listed, {len(set(rows))} different, not {len(wanted)}")
        self._viewing.cancel()
        await asyncio.gather(self._viewing, return_exceptions=True)


async def pacs_killed(region: Region, hospital: str, chance: random.Random, work: Path) -> str:
    """The PACS is killed while a study is being retrieved, and started again."""
    async with Bench(region, hospital, chance.randrange(10**6), work) as bench:
        await bench.begin()
        await region.kill(bench.pacs_process)
        before = await bench.cached()
        seconds = await bench.told("the PACS is away")
        await compare_cached(bench)
        await region.restart(bench.pacs_process)
        await bench.whole()
        return f"killed after {before} of {SLICES}, told in {seconds:.1f} s, whole afterwards"


async def compare_cached(bench: Bench) -> None:
    """What has come is served while the holder is away."""
    index = bench.region.client("root")["index"]
    found = await index.instances.find_one(
        {"study_uid": bench.series.study_uid, "holder": bench.hospital, "location": {"$ne": None}}
    )
    assert found is not None
    for file in bench.series.files:
        if str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID) == found["sop_instance_uid"]:
            await compare_frame(bench.client, bench.series, file)
            return


async def edge_killed(region: Region, hospital: str, chance: random.Random, work: Path) -> str:
    """The edge agent is killed while a study is being retrieved, and started again: it goes on by itself."""
    async with Bench(region, hospital, chance.randrange(10**6), work) as bench:
        await bench.begin()
        await region.kill(bench.edge_process)
        before = await bench.cached()
        await region.restart(bench.edge_process)
        await bench.whole()
        return f"killed after {before} of {SLICES}, whole afterwards"


async def pacs_frozen(region: Region, hospital: str, chance: random.Random, work: Path) -> str:
    """The PACS keeps its connections and says nothing (SIGSTOP): no viewer hangs; it goes on when it wakes."""
    async with Bench(region, hospital, chance.randrange(10**6), work) as bench:
        await bench.begin()
        process = region.processes[bench.pacs_process]
        process.freeze()
        try:
            before = await bench.cached()
            seconds = await bench.told("the PACS does not answer")
        finally:
            process.thaw()
        await bench.whole()
        return f"silent after {before} of {SLICES}, told in {seconds:.1f} s, whole afterwards"


async def pacs_refuses(region: Region, hospital: str, chance: random.Random, work: Path) -> str:
    """`dcmqrscp` offers no C-GET (`--disable-get`) after a restart in mid-retrieval: the agent takes C-MOVE."""
    async with Bench(region, hospital, chance.randrange(10**6), work) as bench:
        await bench.begin()
        process = region.processes[bench.pacs_process]
        process.kill()
        process.extra_arguments = ["--disable-get"]
        try:
            await process.start()
            before = await bench.cached()
            await bench.whole()
        finally:
            process.kill()
            process.extra_arguments = []
            await process.start()
        return f"C-GET refused after {before} of {SLICES}, whole by C-MOVE"


def many_studies(folder: Path, seed: int) -> list[ct.Series]:
    """`LINK_STUDIES` studies of one image each. Blocking."""
    base = ct.write_series(folder, slices=1, seed=seed)
    dataset = pydicom.dcmread(base.files[0])
    studies = []
    for n in range(LINK_STUDIES):
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = ct.uid(seed, "link", n), ct.uid(seed, "series", n)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = ct.uid(seed, "image", n)
        dataset.AccessionNumber = f"L{n:06d}"
        path = folder / f"link-{n:05d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        studies.append(ct.Series(str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), folder, (path,)))
    base.files[0].unlink()
    return studies


async def link_cut(region: Region, hospital: str, chance: random.Random, work: Path) -> str:
    """The link is cut while 500 new studies come into the PACS, and restored: all are announced, none twice."""
    assert region.link is not None
    client = await portal_client(region.state, USERS[hospital])
    known = await _announced(region, hospital)
    await region.link.cut()
    try:
        studies = await asyncio.to_thread(many_studies, work / "link", chance.randrange(10**9))
        await fill_pacs(region.state["pacs"][hospital], [file for study in studies for file in study.files])

        async def told() -> bool:
            answer = await client.get("/dicomweb/studies", params={"limit": "5"}, timeout=30)
            return hospital in answer.headers.get("warning", "")

        await until(told, "QIDO-RS saying that the hospital cannot be asked")
    finally:
        await region.link.restore()
    started = time.monotonic()

    async def all_listed() -> bool:
        index = region.client("root")["index"]
        uids = [study.study_uid for study in studies]
        return int(await index.studies.count_documents({"study_uid": {"$in": uids}})) == LINK_STUDIES

    await until(all_listed, f"{LINK_STUDIES} studies announced after the link came back")
    seconds = time.monotonic() - started
    for study in chance.sample(studies, 3):
        if await listed(client, study.study_uid) is None:
            raise AssertionError("an announced study is not listed")
        await compare_frame(client, study, study.files[0])
    after = await _announced(region, hospital)
    twice = [uid for uid, count in (after - known).items() if count > 1]
    if twice:
        raise AssertionError(f"{len(twice)} studies were announced more than once, e.g. {twice[0]}")
    await client.aclose()
    return f"{LINK_STUDIES} studies during the cut, all announced {seconds:.1f} s after it, none twice"


async def _announced(region: Region, hospital: str) -> Counter[str]:
    """How often each study was announced: distinct events on the hospital's topic (delivery is at least once)."""
    topic = f"edge-events-{hospital}"
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=region.kafka.bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_plain_username="admin",
        sasl_plain_password=region.kafka.passwords["admin"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    seen: dict[str, str] = {}
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        await consumer.seek_to_beginning()
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for batch in (await consumer.getmany(partition, timeout_ms=2_000)).values():
                    for record in batch:
                        headers: dict[str, Any] = {name: value.decode() for name, value in record.headers}
                        if headers.get("ce_type") == "StudyAvailable":
                            seen[headers["ce_id"]] = record.key.decode()
    finally:
        await consumer.stop()
    return Counter(seen.values())


SCENARIOS: dict[str, tuple[str, Scenario]] = {
    "pacs-killed-web": ("tertiary", pacs_killed),
    "pacs-killed-dimse": ("tcm", pacs_killed),
    "pacs-frozen-web": ("tertiary", pacs_frozen),
    "pacs-frozen-dimse": ("tcm", pacs_frozen),
    "pacs-refuses-get": ("tcm", pacs_refuses),
    "edge-killed-web": ("tertiary", edge_killed),
    "edge-killed-dimse": ("tcm", edge_killed),
    "link-cut": ("tertiary", link_cut),
}


async def _start_again(region: Region) -> None:
    """What a scenario that failed left dead, so that the next one can be played."""
    for name, process in region.processes.items():
        if process.pid is None:
            await region.restart(name)


async def play_pacs_faults(chance: random.Random, names: list[str], work: Path) -> int:
    """Run scenarios in a region whose link can be cut; how many failed."""
    failed = 0
    limit = {"retrieve_bytes_per_second": str(BYTES_PER_SECOND), "retrieve_folder_bytes": str(BYTES_PER_SECOND)}
    async with Region(breakable_link=True, edge_settings=limit) as region:
        for name in names:
            hospital, scenario = SCENARIOS[name]
            started = time.monotonic()
            try:
                outcome = await scenario(region, hospital, chance, work)
            except Exception as error:
                failed += 1
                await _start_again(region)
                outcome = f"FAILED {type(error).__name__}: {error}"
            print(f"{name:22} {hospital:10} {outcome}  {time.monotonic() - started:.1f} s", flush=True)
    return failed
