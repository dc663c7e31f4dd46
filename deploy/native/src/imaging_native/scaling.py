"""Scaling shown: one copy of every service of the centre, two copies, and two of which one is killed, under load.

`python -m imaging_native.scaling [--seed N]` sends a seeded set of studies through edge agents, reads frames and plays
consultation cases at the same time, keeps the ledger of `faults`, and prints what each copy did. It writes
`bench/scaling.json`, and exits non-zero when something was lost, or when a copy did not do its share.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from imaging_native.asking import until
from imaging_native.balancer import Balancer
from imaging_native.ports import free_port
from imaging_native.region import ALL_SERVICES, Region
from imaging_native.scaling_figures import Groups, Work, is_shared, work_of
from imaging_native.scaling_load import SENDERS, Counts, Load, Size

COPIED = ("dicom-ingest", "object-writer", "indexer", "gateway", "consult", "notification", "audit")
BY_REQUESTS = ("dicom-ingest", "gateway", "consult")
"""The services whose work comes in by HTTP; that of the others comes on topics."""
KILL_AT = 0.35
"""Share of reads and cases that is done when the copies are killed."""
SHARED_SECONDS = 180
RESULTS = Path("bench") / "scaling.json"
SIZE = Size(studies=24, slices=15, reads=600, cases=24)
"""Studies are the keys by which work is shared: with few of them chance gives one copy nearly all."""


class Copies:
    """A region in which every service of the centre has so many copies, and doors in front of them."""

    def __init__(self, region: Region, doors: dict[str, Balancer]) -> None:
        self._region, self._doors = region, doors
        self._urls = {name: {name: region.url(name)} for name in COPIED}
        self.groups = Groups(region.kafka.bootstrap, region.kafka.passwords["admin"])
        self._members: dict[str, int] = {}
        """How many members one copy of a service is of its group (the indexer reads with several)."""

    async def settle(self) -> None:
        """Look at the groups while there is one copy of each service."""
        self._members = {name: len(await self.groups.partitions(name)) for name in COPIED_CONSUMERS}

    async def add(self, number: int) -> None:
        """Start a further copy of each, and wait until their work is shared out."""
        await asyncio.gather(*(self._add(name, f"{name}-{number}") for name in COPIED))
        await self.until_shared(number)

    async def _add(self, name: str, copy: str) -> None:
        tls_port = free_port()
        settings = {"DICOM_INGEST_TLS_PORT": str(tls_port)} if name == "dicom-ingest" else {}
        self._urls[name][copy] = await self._region.add_copy(name, copy, **settings)
        if name in self._doors:
            self._doors[name].copies.append(tls_port if settings else _port(self._urls[name][copy]))

    async def until_shared(self, copies: int) -> float:
        """Wait until each group has the members of so many copies, all with partitions; after how many seconds."""
        started = time.monotonic()
        wanted = {name: members * copies for name, members in self._members.items()}
        await until(lambda: self.groups.are_held_by(wanted), f"groups of {copies} copies", SHARED_SECONDS)
        return time.monotonic() - started

    async def kill(self, number: int) -> None:
        """SIGKILL that copy of every service, at once."""
        for name in COPIED:
            await self._region.kill(f"{name}-{number}")
            del self._urls[name][f"{name}-{number}"]

    async def work(self) -> dict[str, dict[str, Work]]:
        """Service → copy → what it has done so far."""
        return {name: {copy: await work_of(url) for copy, url in copies.items()} for name, copies in self._urls.items()}


COPIED_CONSUMERS = tuple(name for name in COPIED if name != "dicom-ingest")
"""Those whose topics have several partitions; the ingest reads one of one partition, the hospitals' policies."""


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


async def run(copies: int, size: Size, seed: int, work: Path) -> dict[str, Any]:
    """Load a region with so many copies of everything; figures and breaches."""
    async with AsyncExitStack() as stack:
        doors = {name: await stack.enter_async_context(Balancer()) for name in BY_REQUESTS}
        edges = {"ingest_url": f"https://127.0.0.1:{doors['dicom-ingest'].port}"}
        names = [name for name in ALL_SERVICES if not name.startswith("edge-agent-")]
        names += [f"edge-agent-{hospital}" for hospital in SENDERS]
        region = await stack.enter_async_context(Region(services=names, edge_settings=edges))
        doors["dicom-ingest"].copies.append(_port(region.state["ingest_tls"]))
        for name in ("gateway", "consult"):
            doors[name].copies.append(_port(region.url(name)))
        fleet = Copies(region, doors)
        await fleet.settle()
        for number in range(2, copies + 1):
            await fleet.add(number)
        runs = {
            f"{copies} {'copy' if copies == 1 else 'copies'}": await _undisturbed(
                fleet, region, doors, size, seed, work
            )
        }
        if copies > 1:
            runs[f"{copies} copies, one killed"] = await _with_kill(fleet, region, doors, size, seed + 1, work)
        return runs


async def _undisturbed(
    fleet: Copies, region: Region, doors: dict[str, Balancer], size: Size, seed: int, work: Path
) -> dict[str, Any]:
    before = await fleet.work()
    load = Load(region, doors, size, seed, work / f"seed-{seed}")
    counts = await load.play()
    breaches = await load.breaches() + await _audit_breaches(region)
    after = await fleet.work()
    done = {name: {copy: after[name][copy] - before[name][copy] for copy in after[name]} for name in after}
    held = {name: await fleet.groups.partitions(name) for name in COPIED_CONSUMERS}
    for name, parts in done.items():
        of_copies = [one.requests if name in BY_REQUESTS else one.messages for one in parts.values()]
        if not is_shared(of_copies):
            breaches.append(f"the copies of {name} did not share the work: {of_copies}")
    return {
        **_figures(counts),
        "work": {name: {copy: asdict(one) for copy, one in parts.items()} for name, parts in done.items()},
        "partitions": held,
        "breaches": breaches,
    }


async def _with_kill(
    fleet: Copies, region: Region, doors: dict[str, Balancer], size: Size, seed: int, work: Path
) -> dict[str, Any]:
    load = Load(region, doors, size, seed, work / f"seed-{seed}")
    playing = asyncio.create_task(load.play())

    async def half_way() -> bool:
        return playing.done() or load.share_done >= KILL_AT

    await until(half_way, "the middle of the load", 600)
    at = load.share_done
    await fleet.kill(2)
    taken_over = await fleet.until_shared(1)
    counts = await playing
    breaches = await load.breaches() + await _audit_breaches(region)
    if at >= 1:
        breaches.append("everything was done before a copy was killed: take a larger load")
    return {
        **_figures(counts),
        "killed_at": round(at, 2),
        "taken_over_seconds": round(taken_over, 1),
        "partitions": {name: await fleet.groups.partitions(name) for name in COPIED_CONSUMERS},
        "breaches": breaches,
    }


async def _audit_breaches(region: Region) -> list[str]:
    access, secret = region.minio.credentials["audit"]
    settings = {
        "AUDIT_MONGO_URL": region.mongodb.url("audit"),
        "AUDIT_MINIO_ENDPOINT": region.minio.endpoint,
        "AUDIT_MINIO_ACCESS_KEY": access,
        "AUDIT_MINIO_SECRET_KEY": secret,
    }
    walk = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "audit.verify"),
        env=os.environ | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await walk.communicate()
    return [] if walk.returncode == 0 else [f"the audit chains do not hold: {said.decode(errors='replace')[-500:]}"]


def _figures(counts: Counts) -> dict[str, Any]:
    return {
        "instances": counts.instances,
        "instances_acknowledged_per_second": round(counts.instances / counts.acknowledged_seconds, 1),
        "instances_stored_per_second": round(counts.instances / counts.stored_seconds, 1),
        "reads": counts.reads,
        "reads_per_second": round(counts.reads / counts.read_seconds, 1),
        "reads_again": counts.reads_again,
        "cases": counts.cases,
        "cases_per_second": round(counts.cases / counts.cases_seconds, 2),
        "clicks_again": counts.clicks_again,
    }


def show(name: str, figures: dict[str, Any]) -> None:
    """One run as a table."""
    print(f"\n{name}")
    for key, value in figures.items():
        if not isinstance(value, dict | list):
            print(f"  {key.replace('_', ' '):36} {value}")
    for service, parts in figures.get("work", {}).items():
        each = "   ".join(f"{one['messages']} messages {one['requests']} requests" for one in parts.values())
        print(f"  {service:20} {each}   partitions {figures['partitions'].get(service, '-')}")
    for breach in figures["breaches"]:
        print(f"  BREACH {breach}")
    sys.stdout.flush()


async def play(size: Size, seed: int) -> int:
    """All runs; how many breaches."""
    print(f"SEED={seed} on {os.cpu_count()} cores", flush=True)
    work = Path(tempfile.mkdtemp(prefix="scaling-"))
    runs: dict[str, Any] = {}
    try:
        for copies in (1, 2):
            for name, figures in (await run(copies, size, seed + 10 * copies, work)).items():
                runs[name] = figures
                show(name, figures)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    result = {"seed": seed, "cores": os.cpu_count(), "size": asdict(size), "runs": runs}
    await asyncio.to_thread(RESULTS.write_text, json.dumps(result, indent=2) + "\n")
    return sum(len(figures["breaches"]) for figures in runs.values())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    for name, value in asdict(SIZE).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = vars(parser.parse_args())
    seed = options.pop("seed")
    breaches = asyncio.run(play(replace(SIZE, **options), seed))
    print("SCALING PASS" if breaches == 0 else f"SCALING FAIL {breaches} breaches", flush=True)
    return int(breaches > 0)


if __name__ == "__main__":
    sys.exit(main())
