"""The load of `scaling`: studies from two hospitals' edge agents, frames read, cases played; and its ledger."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from imaging_native import applications, ct
from imaging_native.asking import until
from imaging_native.balancer import Balancer
from imaging_native.distributed import ANY_FRAME, frame_url, until_listed
from imaging_native.faults import given_back, journal, send
from imaging_native.faults_consults import Desk, Ledger
from imaging_native.region import Region
from imaging_native.session import portal_client
from imaging_native.tokens import person_token

SENDERS = {"community": "doctor.community", "secondary": "expert.secondary"}
"""Hospital without a PACS → who reads its images."""
READERS = 6
DESKS = 4
RETRY_SECONDS = 0.3
PATIENCE_SECONDS = 120.0
STORED_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    studies: int
    slices: int
    """Of each study."""
    reads: int
    cases: int


@dataclass(slots=True)
class Counts:
    """What one run did."""

    instances: int = 0
    """Without those of the study that is read, which is sent before."""
    reads: int = 0
    reads_again: int = 0
    """Reads that met a copy that had gone, and were asked again."""
    cases: int = 0
    clicks_again: int = 0
    acknowledged_seconds: float = 0.0
    """Until every instance was acknowledged to its sender."""
    read_seconds: float = 0.0
    cases_seconds: float = 0.0
    stored_seconds: float = 0.0
    """Until the archive had every instance."""


class Load:
    """One run's studies, reads and cases, all at the same time."""

    def __init__(self, region: Region, doors: dict[str, Balancer], size: Size, seed: int, work: Path) -> None:
        self._region, self._doors, self._size = region, doors, size
        self._chance = random.Random(seed)  # noqa: S311
        self._seed, self._work = seed, work
        self._series: list[tuple[str, ct.Series]] = []
        self._cases: list[str] = []
        self.counts = Counts()

    async def play(self) -> Counts:
        """Send, read and click until all of it is done."""
        for number in range(self._size.studies + 1):
            folder, slices = self._work / f"study-{number}", self._size.slices
            made = await asyncio.to_thread(ct.write_series, folder, slices=slices, seed=self._seed * 1000 + number)
            self._series.append((list(SENDERS)[number % len(SENDERS)], made))
        hospital, first = self._series[0]
        await self._send(hospital, [first])
        self.counts.instances = 0
        client = await portal_client(self._region.state, SENDERS[hospital])
        await until_listed(client, first.study_uid, self._size.slices)
        await client.aclose()
        secret = self._region.client_secret("portal")
        token = await person_token(self._region.state, SENDERS[hospital], secret)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_all())
            group.create_task(self._read_all(token, first))
            group.create_task(self._play_cases({"study_uid": first.study_uid, "holder": hospital}))
        return self.counts

    @property
    def share_done(self) -> float:
        """How much of reads and cases is done, from 0 to 1."""
        return (self.counts.reads / self._size.reads + self.counts.cases / self._size.cases) / 2

    async def _send(self, hospital: str, all_series: Sequence[ct.Series]) -> None:
        edge = self._region.state["edges"][hospital]
        for series in all_series:
            await send(list(series.files), edge["ae_title"], edge["dimse_port"])
            self.counts.instances += len(series.files)

    async def _send_all(self) -> None:
        started = time.monotonic()
        mine = {hospital: [s for h, s in self._series[1:] if h == hospital] for hospital in SENDERS}
        await asyncio.gather(*(self._send(hospital, series) for hospital, series in mine.items()))
        self.counts.acknowledged_seconds = time.monotonic() - started
        for hospital, series in self._series:
            await until(partial(self._is_stored, hospital, series), "the archive's receipts", STORED_SECONDS)
        self.counts.stored_seconds = time.monotonic() - started

    async def _is_stored(self, hospital: str, series: ct.Series) -> bool:
        rows = await journal(self._region.state["edges"][hospital], series.study_uid)
        return len(rows) == len(series.files) and all(state == "stored" for _, state in rows.values())

    async def _read_all(self, token: str, series: ct.Series) -> None:
        started = time.monotonic()
        bearer = {"Authorization": f"Bearer {token}"}
        left = iter(range(self._size.reads))

        async def read_some() -> None:
            async with httpx.AsyncClient(base_url=self._doors["gateway"].url, timeout=30, headers=bearer) as client:
                for _ in left:
                    await self._read(client, frame_url(series, self._chance.choice(series.files)))
                    self.counts.reads += 1

        await asyncio.gather(*(read_some() for _ in range(READERS)))
        self.counts.read_seconds = time.monotonic() - started

    async def _read(self, client: httpx.AsyncClient, url: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    answer = await client.get(url, headers={"Accept": ANY_FRAME})
                except httpx.TransportError:
                    answer = None
                if answer is not None and answer.status_code < 500:
                    answer.raise_for_status()
                    return
                self.counts.reads_again += 1
                await asyncio.sleep(RETRY_SECONDS)

    async def _play_cases(self, study: dict[str, str]) -> None:
        started = time.monotonic()
        left = iter(range(self._size.cases))

        async with Desk(self._region, applications.of_study(**study), self._doors["consult"].url) as desk:

            async def play_some() -> None:
                for _ in left:
                    self._cases.append(await desk.play())
                    self.counts.cases += 1

            await asyncio.gather(*(play_some() for _ in range(DESKS)))
            self.counts.clicks_again = desk.again
        self.counts.cases_seconds = time.monotonic() - started

    async def breaches(self) -> list[str]:
        """The ledger: what was acknowledged and is not indexed exactly once or not given back; what a case lost."""
        broken: list[str] = []
        for hospital, user in SENDERS.items():
            client = await portal_client(self._region.state, user)
            try:
                for series in [s for h, s in self._series if h == hospital]:
                    broken += await self._breaches_of(client, hospital, series)
            finally:
                await client.aclose()
        return broken + await Ledger(self._region, self._cases).check()

    async def _breaches_of(self, client: httpx.AsyncClient, hospital: str, series: ct.Series) -> list[str]:
        rows: dict[str, Any] = await journal(self._region.state["edges"][hospital], series.study_uid)
        answer = await client.get(f"/dicomweb/studies/{series.study_uid}/instances", params={"limit": "5000"})
        answer.raise_for_status()
        indexed = [row["00080018"]["Value"][0] for row in answer.json()]
        files = await given_back(client, series.study_uid)
        broken = [f"{uid} is indexed {indexed.count(uid)} times" for uid in rows if indexed.count(uid) != 1]
        broken += [
            f"{uid} does not come back as it was" for uid, (digest, _) in rows.items() if files.get(uid) != digest
        ]
        return broken
