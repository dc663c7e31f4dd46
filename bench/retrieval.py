"""The distributed tier against the PACS itself: opening a study nobody has seen, and retrieving the whole of it.

Every study is new to the centre. "Warm" headers are in the index before the study is opened, "cold" ones are not (for
the PACS with DICOMweb they are taken out of the index by hand, for the one without they were never there; its warm
case is a study that was evicted from the cache tier, by hand).
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelGet

from imaging_native import ct
from imaging_native.asking import until
from imaging_native.distributed import ANY_FRAME, JSON, fill_pacs, frame_url, until_listed
from imaging_native.region import Region
from imaging_native.session import portal_client

SLICES = 500
FIRST_FRAME_FACTOR, FIRST_FRAME_SECONDS = 1.25, 0.3
"""Aim: first frame within 1.25 × the direct C-GET of one instance plus 300 ms, with warm headers."""
WHOLE_STUDY_AIM = 0.8
ROUNDS = 5
REMEMBERED_SECONDS = 11.0
"""Longer than a copy of the gateway remembers where bytes lie."""
USERS = {"tertiary": "doctor.tertiary", "tcm": "doctor.tcm"}
KINDS = {"tertiary": "wado", "tcm": "dimse"}


def get_one(pacs: dict[str, Any], series: ct.Series, sop_instance_uid: str) -> float:
    """Seconds of a direct C-GET of one instance, association included."""
    got: list[int] = []

    def on_store(event: evt.Event) -> int:
        got.append(len(event.request.DataSet.getvalue()))
        return 0x0000

    started = time.perf_counter()
    entity = AE("DIRECT")
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_requested_context(CTImageStorage)
    association = entity.associate(
        "127.0.0.1",
        pacs["dimse_port"],
        ae_title=pacs["ae_title"],
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, on_store)],
    )
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID, identifier.SeriesInstanceUID = series.study_uid, series.series_uid
    identifier.SOPInstanceUID = sop_instance_uid
    for _ in association.send_c_get(identifier, StudyRootQueryRetrieveInformationModelGet):
        pass
    association.release()
    if not got:
        raise RuntimeError("the PACS gave nothing by C-GET")
    return time.perf_counter() - started


async def program(*words: str) -> float:
    """Seconds until a DCMTK program ends well."""
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    if await asyncio.wait_for(process.wait(), 300):
        raise RuntimeError(f"{words[0]} exited with {process.returncode}")
    return time.perf_counter() - started


def files_in(folder: str) -> int:
    """How many files a folder holds."""
    return len(os.listdir(folder))


async def getscu(pacs: dict[str, Any], series: ct.Series) -> float:
    """Seconds in which `getscu` takes the whole study straight from the PACS."""
    with tempfile.TemporaryDirectory(prefix="region-bench-get-") as folder:
        seconds = await program(
            *("getscu", "-S", "-aec", pacs["ae_title"], "127.0.0.1", str(pacs["dimse_port"]), "-od", folder),
            *("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={series.study_uid}"),
        )
        count = await asyncio.to_thread(files_in, folder)
    if count != SLICES:
        raise RuntimeError(f"getscu took {count} of {SLICES} instances")
    return seconds


async def movescu(pacs: dict[str, Any], move_ae: str, port: int, series: ct.Series) -> float:
    """Seconds in which `movescu` has the whole study sent to itself, on a port that the PACS knows."""
    with tempfile.TemporaryDirectory(prefix="region-bench-move-") as folder:
        seconds = await program(
            *("movescu", "-S", "-aec", pacs["ae_title"], "-aem", move_ae, "+P", str(port), "-od", folder),
            *("127.0.0.1", str(pacs["dimse_port"])),
            *("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={series.study_uid}"),
        )
        count = await asyncio.to_thread(files_in, folder)
    if count != SLICES:
        raise RuntimeError(f"movescu took {count} of {SLICES} instances")
    return seconds


class Hospital:
    """One hospital with a PACS, and a doctor of it at the portal."""

    def __init__(self, region: Region, name: str, work: Path) -> None:
        self.region, self.name, self.work = region, name, work
        self.pacs: dict[str, Any] = region.state["pacs"][name]
        self.index = region.client("root")["index"]
        self.client: httpx.AsyncClient
        self._seed = 7000 if name == "tertiary" else 8000

    async def new_study(self) -> ct.Series:
        """A study in the PACS that the region lists and nobody has opened."""
        self._seed += 1
        series = await asyncio.to_thread(
            ct.write_series, self.work / f"{self.name}-{self._seed}", slices=SLICES, seed=self._seed
        )
        await fill_pacs(self.pacs, series.files)
        await until_listed(self.client, series.study_uid, SLICES)
        return series

    async def evict(self, series: ct.Series) -> None:
        """Have the centre forget the pixels, not the headers."""
        where = {"study_uid": series.study_uid, "holder": self.name}
        await self.index.instances.update_many(where, {"$set": {"location": None}})
        await self._touch(series)
        await asyncio.sleep(REMEMBERED_SECONDS)

    async def forget_headers(self, series: ct.Series) -> None:
        """Have the centre know no more than a C-FIND gives."""
        where = {"study_uid": series.study_uid, "holder": self.name}
        await self.index.instances.update_many(where, {"$set": {"header_full": False}})
        await self._touch(series)

    async def _touch(self, series: ct.Series) -> None:
        """A version of its own, so that no copy of the gateway keeps what it knew."""
        where = {"_id": f"{self.name}/{series.study_uid}"}
        online = {"online_count": 0}
        headers = await self.index.instances.count_documents({"study_key": where["_id"], "header_full": True})
        change = {"$inc": {"version.n": 1}, "$set": {**online, "header_count": headers}}
        await self.index.studies.update_one(where, change)
        await self.index.series.update_many({"study_key": where["_id"]}, {"$set": {**online, "header_count": headers}})
        retrievals = self.region.client("root")["gateway"]["retrievals"]
        await retrievals.delete_many({"study_uid": series.study_uid})

    async def open(self, series: ct.Series) -> float:
        """What a viewer does: the page, the series, its metadata, the first frame. Seconds until that is here."""
        study = f"/dicomweb/studies/{series.study_uid}"
        frame = frame_url(series, series.files[0])
        started = time.perf_counter()
        for path, accept in (
            (f"/viewer?StudyInstanceUIDs={series.study_uid}", "text/html"),
            (f"{study}/series", JSON),
            (f"{study}/series/{series.series_uid}/metadata", JSON),
            (frame, ANY_FRAME),
        ):
            answer = await self.client.get(path, headers={"Accept": accept}, timeout=120)
            answer.raise_for_status()
        return time.perf_counter() - started

    async def whole(self, series: ct.Series) -> float:
        """Seconds until a whole-study retrieve of a never-seen study has given all of it."""
        started = time.perf_counter()
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        size = 0
        async with self.client.stream(
            "GET", f"/dicomweb/studies/{series.study_uid}", headers={"Accept": accept}, timeout=300
        ) as answer:
            answer.raise_for_status()
            async for piece in answer.aiter_raw():
                size += len(piece)
        seconds = time.perf_counter() - started
        if size < SLICES * 512 * 512 * 2:
            raise RuntimeError(f"the whole study came with {size} bytes only")
        return seconds

    async def settle(self, series: ct.Series) -> None:
        """Wait until the rest of an opened study has come, so that it does not run into the next measurement."""

        async def all_here() -> bool:
            where = {"study_uid": series.study_uid, "location": None}
            return int(await self.index.instances.count_documents(where)) == 0

        await until(all_here, "the rest of an opened study")


def line(name: str, ours: float, peer: float, aim: float | None, ratio: float, unit: str) -> dict[str, Any]:
    """One line of `results.json`."""
    found = {"name": name, "ours": round(ours, 3), "peer": round(peer, 3), "ratio": round(ratio, 2), "unit": unit}
    return {**found, "better": "lower" if unit == "s" else "higher", "aim": aim}


async def measure_first_frames(hospital: Hospital) -> list[dict[str, Any]]:
    """Median seconds from opening to the first frame, warm and cold, against a direct C-GET of that instance."""
    kind = KINDS[hospital.name]
    warm: list[float] = []
    cold: list[float] = []
    direct: list[float] = []

    async def sample(into: list[float], prepare: Callable[[ct.Series], Awaitable[None]] | None) -> None:
        series = await hospital.new_study()
        if prepare is not None:
            await prepare(series)
        sop = frame_url(series, series.files[0]).split("/instances/")[1].split("/")[0]
        direct.append(await asyncio.to_thread(get_one, hospital.pacs, series, sop))
        into.append(await hospital.open(series))
        await hospital.settle(series)
        shutil.rmtree(series.folder)

    async def seen_and_evicted(series: ct.Series) -> None:
        await hospital.whole(series)
        await hospital.settle(series)
        await hospital.evict(series)

    for _ in range(ROUNDS):
        await sample(warm, seen_and_evicted if kind == "dimse" else None)
    for _ in range(2):
        await sample(cold, hospital.forget_headers if kind == "wado" else None)
    peer = sorted(direct)[len(direct) // 2]
    limit = FIRST_FRAME_FACTOR * peer + FIRST_FRAME_SECONDS
    ours_warm, ours_cold = sorted(warm)[len(warm) // 2], min(cold)
    return [
        line(f"first-frame-{kind}-warm", ours_warm, peer, 1.0, limit / ours_warm, "s"),
        line(f"first-frame-{kind}-cold", ours_cold, peer, None, limit / ours_cold, "s"),
    ]


async def measure_whole_studies(hospital: Hospital) -> list[dict[str, Any]]:
    """Instances per second of a never-seen study through the gateway, against `getscu` and `movescu` from the PACS."""
    kind = KINDS[hospital.name]
    series = await hospital.new_study()
    state = hospital.region.state["workstation"]
    by_get = await getscu(hospital.pacs, series)
    by_move = await movescu(hospital.pacs, state["ae_title"], state["port"], series)
    ours = await hospital.whole(series)
    await hospital.settle(series)
    shutil.rmtree(series.folder)
    return [
        line(f"whole-study-{kind}-get", SLICES / ours, SLICES / by_get, WHOLE_STUDY_AIM, by_get / ours, "1/s"),
        line(f"whole-study-{kind}-move", SLICES / ours, SLICES / by_move, WHOLE_STUDY_AIM, by_move / ours, "1/s"),
    ]


async def measure(region: Region, work: Path) -> list[dict[str, Any]]:
    """All figures of the distributed tier."""
    rows: list[dict[str, Any]] = []
    for name in KINDS:
        hospital = Hospital(region, name, work)
        hospital.client = await portal_client(region.state, USERS[name])
        try:
            rows += await measure_first_frames(hospital)
            rows += await measure_whole_studies(hospital)
        finally:
            await hospital.client.aclose()
        print(f"{name}: " + ", ".join(f"{row['name']} {row['ratio']}" for row in rows[-4:]), flush=True)
    return rows
