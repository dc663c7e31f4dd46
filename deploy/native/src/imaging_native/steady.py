"""`python -m imaging_native.steady`: a modality stores study after study until it is told to stop, then the ledger.

With Study Instance UIDs as arguments nothing is stored: the ledger of these studies once more, as after a restore.

For upgrades under load of a deployed region (settings: `STORY_…`, as for the story). It goes on until the file `stop`
exists. The ledger: whatever was acknowledged is indexed exactly once, and comes back with the SHA-256 that the edge
agent computed on receipt. The last line is that ledger as JSON; it ends with 0 when nothing was lost.
"""

import asyncio
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
from pydicom.filebase import DicomBytesIO

from imaging_native import ct
from imaging_native.asking import parts, until
from imaging_native.session import portal_client
from imaging_native.story.deployed import DeployedRegion

HOSPITAL, DOCTOR = "community", "doctor.community"
SLICES = 4
PAUSE_SECONDS = 0.5
STOP = Path("/tmp/stop")  # noqa: S108 (in a container of its own)
STORED_DEADLINE_SECONDS = 600.0
FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@dataclass(slots=True)
class Ledger:
    """What came of everything that was sent."""

    studies: int = 0
    acknowledged: int = 0
    indexed: int = 0
    indexed_twice: int = 0
    given_back: int = 0
    repeated_sends: int = 0
    """Sends that failed and were done again, as a modality's queue does."""
    searches: int = 0
    searches_failed: int = 0
    seconds: float = 0.0

    @property
    def lost(self) -> int:
        """Acknowledged instances that are not indexed or do not come back as they were."""
        return self.acknowledged - min(self.indexed, self.given_back)


class Modality:
    """Stores small CT studies at a hospital's edge agent, one after the other."""

    def __init__(self, state: dict[str, Any], ledger: Ledger, work: Path) -> None:
        self._edge = state["edges"][HOSPITAL]
        self._ledger = ledger
        self._work = work
        self._seed = int(time.time())
        self.studies: dict[str, set[str]] = {}
        """Study → the SOP Instance UIDs that were acknowledged."""

    async def store_until_told(self) -> None:
        """Store until the file `stop` is there."""
        while not await asyncio.to_thread(STOP.exists):
            await self._store_one()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _store_one(self) -> None:
        self._seed += 1
        folder = self._work / str(self._seed)
        series = await asyncio.to_thread(ct.write_series, folder, slices=SLICES, seed=self._seed)
        while not await self._send(series.files):
            self._ledger.repeated_sends += 1
            await asyncio.sleep(1)
        print(f"STUDY {series.study_uid}", flush=True)
        self.studies[series.study_uid] = {ct.uid(self._seed, "sop", number) for number in range(1, SLICES + 1)}
        await asyncio.to_thread(shutil.rmtree, folder)

    async def _send(self, files: tuple[Path, ...]) -> bool:
        """Whether every file was acknowledged."""
        process = await asyncio.create_subprocess_exec(
            shutil.which("dcmsend") or "dcmsend",
            *("-aet", "MODALITY", "-aec", self._edge["ae_title"], "--decompress-never", "-to", "20"),
            *(self._edge["host"], str(self._edge["dimse_port"]), *map(str, files)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode == 0 and b"E:" not in output


async def search_until_told(state: dict[str, Any], ledger: Ledger) -> None:
    """Somebody searches all the while; failures are counted, not mended."""
    async with aclosing(await portal_client(state, DOCTOR)) as client:
        while not await asyncio.to_thread(STOP.exists):
            ledger.searches += 1
            try:
                answer = await client.get("/dicomweb/studies", params={"limit": "5"})
                ledger.searches_failed += answer.is_error
            except httpx.TransportError:
                ledger.searches_failed += 1
            await asyncio.sleep(PAUSE_SECONDS)


async def acknowledged_of(state: dict[str, Any], studies: Sequence[str]) -> dict[str, set[str]]:
    """Study → the SOP Instance UIDs that the edge agent once acknowledged, by its journal.

    Raises
    ------
    RuntimeError
        The journal knows nothing of a study: there is nothing to compare with.
    """
    async with httpx.AsyncClient(base_url=state["edges"][HOSPITAL]["http"], timeout=20) as agent:
        answers = {
            study: (await agent.get("/journal", params={"study": study})).raise_for_status() for study in studies
        }
    found = {study: {row["sop_instance_uid"] for row in answer.json()} for study, answer in answers.items()}
    if unknown := [study for study, instances in found.items() if not instances]:
        raise RuntimeError(f"the edge agent's journal knows nothing of {', '.join(unknown)}")
    return found


async def settle(state: dict[str, Any], studies: dict[str, set[str]], ledger: Ledger) -> None:
    """Wait for the archive's receipts, then count at the far end."""
    async with (
        httpx.AsyncClient(base_url=state["edges"][HOSPITAL]["http"], timeout=20) as agent,
        aclosing(await portal_client(state, DOCTOR)) as client,
    ):
        for study_uid, acknowledged in studies.items():
            digests = await _receipts(agent, study_uid, acknowledged)
            await _count(client, study_uid, digests, ledger)
    ledger.studies = len(studies)
    ledger.acknowledged = sum(map(len, studies.values()))


async def _receipts(agent: httpx.AsyncClient, study_uid: str, acknowledged: set[str]) -> dict[str, str]:
    """SOP Instance UID → SHA-256 on receipt, once the archive has everything that was acknowledged."""

    async def stored() -> dict[str, str] | None:
        answer = await agent.get("/journal", params={"study": study_uid})
        answer.raise_for_status()
        rows = {row["sop_instance_uid"]: row for row in answer.json()}
        done = acknowledged <= rows.keys() and all(rows[uid]["state"] == "stored" for uid in acknowledged)
        return {uid: rows[uid]["sha256"] for uid in acknowledged} if done else None

    digests: dict[str, str] = await until(stored, f"the archive's receipt for {study_uid}", STORED_DEADLINE_SECONDS)
    return digests


async def _count(client: httpx.AsyncClient, study_uid: str, digests: dict[str, str], ledger: Ledger) -> None:
    found = await client.get(f"/dicomweb/studies/{study_uid}/instances", params={"limit": "5000"})
    found.raise_for_status()
    times = Counter(row["00080018"]["Value"][0] for row in found.json())
    ledger.indexed += sum(times[uid] == 1 for uid in digests)
    ledger.indexed_twice += sum(count > 1 for count in times.values())
    answer = await client.get(f"/dicomweb/studies/{study_uid}", headers={"Accept": FILES}, timeout=120)
    answer.raise_for_status()
    async for body in parts(answer):
        header = pydicom.dcmread(DicomBytesIO(body), stop_before_pixels=True)
        ledger.given_back += digests.get(str(header.SOPInstanceUID)) == hashlib.sha256(body).hexdigest()


async def play(state: dict[str, Any], studies: Sequence[str] = ()) -> Ledger:
    """Store and search until told to stop, or take these studies; the ledger."""
    ledger = Ledger()
    started = time.monotonic()
    if studies:
        await settle(state, await acknowledged_of(state, studies), ledger)
        return ledger
    with tempfile.TemporaryDirectory(prefix="region-steady-") as work:
        modality = Modality(state, ledger, Path(work))
        print("STEADY BEGINS", flush=True)
        await asyncio.gather(modality.store_until_told(), search_until_told(state, ledger))
        ledger.seconds = round(time.monotonic() - started, 1)
        await settle(state, modality.studies, ledger)
    return ledger


def main() -> int:
    """The command line."""
    ledger = asyncio.run(play(DeployedRegion().state(), sys.argv[1:]))
    failed = ledger.lost + ledger.indexed_twice
    print(json.dumps({**asdict(ledger), "lost": ledger.lost}), flush=True)
    return int(failed > 0 or not ledger.acknowledged)


if __name__ == "__main__":
    sys.exit(main())
