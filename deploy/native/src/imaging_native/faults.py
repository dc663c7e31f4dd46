"""Kills every process of a region, one after the other, each while images are being sent, and keeps the ledger.

The ledger: what a sender got 0x0000 for is in the edge agent's journal, is indexed exactly once and is given back with
the SHA-256 it came with. `python -m imaging_native.faults [--seed N] [--slices N] [--only NAME …]` prints the seed and
a line per kill, and exits non-zero on any loss. Then the faults of the distributed tier, `faults_pacs`, and those of
the consultation, `faults_consults`.
"""

import argparse
import asyncio
import hashlib
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
from pydicom.filebase import DicomBytesIO

from imaging_native import ct
from imaging_native.asking import parts, until
from imaging_native.faults_consults import play_consult_faults
from imaging_native.faults_pacs import SCENARIOS, play_pacs_faults
from imaging_native.region import Region
from imaging_native.session import portal_client

VICTIMS = ("edge-agent-community", "dicom-ingest", "object-writer", "indexer", "gateway", "kafka", "minio", "mongodb")
CONSULTS = "consults"
ASSOCIATIONS = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    victim: str
    acknowledged: int
    indexed: int
    given_back: int
    seconds: float

    @property
    def lost(self) -> int:
        """Acknowledged instances that are not indexed or do not come back as they were."""
        return self.acknowledged - min(self.indexed, self.given_back)


async def send(files: list[Path], ae_title: str, port: int) -> None:
    """Send every file, again as often as the sender sees a failure: what a modality's queue does."""
    async with asyncio.timeout(300):
        while True:
            process = await asyncio.create_subprocess_exec(
                shutil.which("dcmsend") or "dcmsend",
                *("-aet", "MODALITY", "-aec", ae_title, "--decompress-never", "-to", "20", "127.0.0.1", str(port)),
                *map(str, files),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            if process.returncode == 0 and b"with status SUCCESS" not in output and b"E:" not in output:
                return
            await asyncio.sleep(1)


async def journal(edge: dict[str, Any], study_uid: str) -> dict[str, tuple[str, str]]:
    """SOP Instance UID to (SHA-256, state) of everything the edge agent acknowledged; nothing while it is down."""
    try:
        async with httpx.AsyncClient(base_url=edge["http"], timeout=10) as client:
            answer = await client.get("/journal", params={"study": study_uid})
            answer.raise_for_status()
            return {row["sop_instance_uid"]: (row["sha256"], row["state"]) for row in answer.json()}
    except httpx.TransportError:
        return {}


async def given_back(client: httpx.AsyncClient, study_uid: str) -> dict[str, str]:
    """SOP Instance UID to SHA-256 of every file that WADO-RS gives back."""
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    answer = await client.get(f"/dicomweb/studies/{study_uid}", headers={"Accept": accept}, timeout=120)
    answer.raise_for_status()
    files = {}
    async for body in parts(answer):
        header = pydicom.dcmread(DicomBytesIO(body), stop_before_pixels=True)
        files[str(header.SOPInstanceUID)] = hashlib.sha256(body).hexdigest()
    return files


async def play_fault(region: Region, victim: str, seed: int, slices: int, moment: float, work: Path) -> Entry:
    """Send a study, kill `victim` at `moment` (share of the instances), start it again, and count at the far end."""
    edge = region.state["edges"]["community"]
    series = await asyncio.to_thread(ct.write_series, work / victim, slices=slices, seed=seed)
    started = time.monotonic()
    shares = [list(series.files[i::ASSOCIATIONS]) for i in range(ASSOCIATIONS)]
    senders = [asyncio.create_task(send(share, edge["ae_title"], edge["dimse_port"])) for share in shares]

    async def reached() -> bool:
        return len(await journal(edge, series.study_uid)) >= moment * slices

    await until(reached, f"{moment:.0%} of the instances in the journal")
    await region.kill(victim)
    await region.restart(victim)
    await asyncio.gather(*senders)

    async def all_stored() -> bool:
        rows = await journal(edge, series.study_uid)
        return len(rows) == slices and all(state == "stored" for _, state in rows.values())

    await until(all_stored, f"the archive's receipts after {victim} was killed")
    acknowledged = {uid: digest for uid, (digest, _) in (await journal(edge, series.study_uid)).items()}
    client = await portal_client(region.state, "doctor.community")
    try:
        answer = await client.get(f"/dicomweb/studies/{series.study_uid}/instances", params={"limit": "5000"})
        answer.raise_for_status()
        indexed = [row["00080018"]["Value"][0] for row in answer.json()]
        files = await given_back(client, series.study_uid)
    finally:
        await client.aclose()
    if len(indexed) != len(set(indexed)):
        raise AssertionError(f"{len(indexed) - len(set(indexed))} instances are indexed twice")
    same = sum(files.get(uid) == digest for uid, digest in acknowledged.items())
    shutil.rmtree(series.folder)
    return Entry(victim, len(acknowledged), len(indexed), same, time.monotonic() - started)


async def play(seed: int, slices: int, names: list[str]) -> int:
    """Run the faults named; how many instances were lost and scenarios failed."""
    chance = random.Random(seed)  # noqa: S311
    print(f"SEED={seed}", flush=True)
    lost = 0
    victims = [name for name in names if name in VICTIMS]
    with tempfile.TemporaryDirectory(prefix="region-faults-") as work:
        if victims:
            lost += await play_kills(victims, chance, seed, slices, Path(work))
        if scenarios := [name for name in names if name in SCENARIOS]:
            lost += await play_pacs_faults(chance, scenarios, Path(work))
        if CONSULTS in names:
            lost += await play_consult_faults(chance, Path(work))
    return lost


async def play_kills(victims: list[str], chance: random.Random, seed: int, slices: int, work: Path) -> int:
    """Kill each victim once; the number of instances lost."""
    lost = 0
    async with Region() as region:
        for number, victim in enumerate(victims):
            moment = chance.uniform(0.1, 0.7)
            entry = await play_fault(region, victim, seed * 100 + number, slices, moment, work)
            lost += entry.lost
            print(
                f"{victim:22} SIGKILL at {moment:4.0%}  acknowledged {entry.acknowledged}  indexed {entry.indexed}"
                f"  given back {entry.given_back}  lost {entry.lost}  {entry.seconds:.1f} s",
                flush=True,
            )
    return lost


def main() -> int:
    """The command line."""
    everything = [*VICTIMS, *SCENARIOS, CONSULTS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--slices", type=int, default=600)
    parser.add_argument("--only", nargs="*", default=everything, choices=everything)
    arguments = parser.parse_args()
    lost = asyncio.run(play(arguments.seed, arguments.slices, arguments.only))
    print("FAULTS PASS" if lost == 0 else f"FAULTS FAIL {lost} lost or failed", flush=True)
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
