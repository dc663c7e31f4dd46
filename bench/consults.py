"""Transitions per second, and how long after a click the other party's screen shows it, with 50 pages open.

`python bench/consults.py` measures these alone.
"""

import asyncio
import html
import re
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
from pymongo import AsyncMongoClient

from imaging_native import applications, ct
from imaging_native.distributed import fill_pacs, until_listed
from imaging_native.region import Region
from imaging_native.session import portal_client

CASES_AT_ONCE = 8
ROUNDS = 6
OPEN_PAGES = 50
CLICKS = 60
SCREEN_LIMIT_MS = 500.0
SEED = 7311
USERS = ("doctor.community", "expert.secondary", "chief.secondary", "coordinator.secondary", "doctor.tertiary")
WAY = 6
"""Transitions of a whole case: submit, claim, read, draft, issue, acknowledge."""


async def measure(region: Region, work: Path) -> list[dict[str, Any]]:
    """Both figures, as rows of `results.json`."""
    study = await _study(region, work)
    clicks = await _click_to_screen(region, study)  # first: issued cases leave PDFs, notices and e-mails to be made
    return [await _transitions(region, study), clicks]


async def _study(region: Region, work: Path) -> dict[str, str]:
    series = await asyncio.to_thread(ct.write_series, work / "consults", slices=2, seed=SEED)
    await fill_pacs({**region.state["edges"]["community"], "dicomweb": ""}, series.files)
    doctor = await portal_client(region.state, "doctor.community")
    await until_listed(doctor, series.study_uid, 2)
    await doctor.aclose()
    return applications.of_study(series.study_uid, "community")


async def _transitions(region: Region, study: dict[str, str]) -> dict[str, Any]:
    """Whole cases over the consult service's HTTP, eight at once; the peer is the database alone: as many transactions
    that change one document and add two, from eight tasks."""
    async with AsyncExitStack() as stack:
        doctor = await stack.enter_async_context(applications.Person.signed_in(region, "doctor.community"))
        expert = await stack.enter_async_context(applications.Person.signed_in(region, "expert.secondary"))
        body = applications.application(studies=[study])

        async def play(rounds: int) -> None:
            for _ in range(rounds):
                await applications.to_acknowledged(doctor.client, doctor.token, expert.token, body)

        await play(1)
        started = time.perf_counter()
        await asyncio.gather(*(play(ROUNDS) for _ in range(CASES_AT_ONCE)))
        ours = CASES_AT_ONCE * ROUNDS * WAY / (time.perf_counter() - started)
    peer = await _transactions(region.client("root"), CASES_AT_ONCE * ROUNDS * WAY)
    return {
        "name": "consult-transitions",
        "ours": round(ours, 2),
        "peer": round(peer, 2),
        "ratio": round(ours / peer, 2),
        "unit": "1/s",
        "better": "higher",
        "aim": None,
    }


async def _transactions(client: AsyncMongoClient[dict[str, Any]], count: int) -> float:
    """Plain transactions per second."""
    database = client["bench_consults"]
    await database["cases"].insert_many([{"_id": n, "version": 0} for n in range(CASES_AT_ONCE)])
    await database["told"].insert_one({"n": -1})

    async def change(case: int) -> None:
        for n in range(count // CASES_AT_ONCE):

            async def write(session: Any, n: int = n) -> None:
                await database["cases"].update_one({"_id": case}, {"$inc": {"version": 1}}, session=session)
                await database["told"].insert_many([{"case": case, "n": n}, {"case": case, "n": -n}], session=session)

            async with client.start_session() as session:
                await session.with_transaction(write)

    started = time.perf_counter()
    await asyncio.gather(*(change(case) for case in range(CASES_AT_ONCE)))
    seconds = time.perf_counter() - started
    await client.drop_database("bench_consults")
    return count / seconds


class Page:
    """A browser's page of a case: it listens, and asks for the case anew when that changed."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._versions: dict[str, int] = {}
        self._turned = asyncio.Condition()
        self.watched = ""

    async def listen(self) -> None:
        """Until cancelled."""
        async with self._client.stream("GET", "/portal/events", timeout=None) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if self.watched and line == f"data: consult-{self.watched}":
                    await self._look()

    async def _look(self) -> None:
        answer = await self._client.get(f"/portal/consults/{self.watched}/case", headers={"HX-Request": "true"})
        found = re.search(r'data-version="(\d+)"', answer.text)
        async with self._turned:
            self._versions[self.watched] = int(found[1]) if found else 0
            self._turned.notify_all()

    async def shows(self, case_id: str, version: int) -> None:
        """Returns when the page shows that version, or a later one."""
        async with asyncio.timeout(30), self._turned:
            await self._turned.wait_for(lambda: self._versions.get(case_id, 0) >= version)


async def _click_to_screen(region: Region, study: dict[str, str]) -> dict[str, Any]:
    """The p95 from the POST of a click to the moment the other party's page has the new state, ms."""
    async with AsyncExitStack() as stack:
        clients = {}
        for user in USERS:
            clients[user] = await portal_client(region.state, user)
            stack.push_async_callback(clients[user].aclose)
        doctor = await stack.enter_async_context(applications.Person.signed_in(region, "doctor.community"))
        expert, screen = clients["expert.secondary"], Page(clients["doctor.community"])
        others = [Page(clients[USERS[n % len(USERS)]]) for n in range(OPEN_PAGES - 1)]
        listening = [asyncio.create_task(page.listen()) for page in (screen, *others)]
        try:
            csrf = await _csrf(expert)
            took: list[float] = []
            while len(took) < CLICKS:
                case = await doctor.apply(applications.application(studies=[study]))
                for page in (screen, *others[::5]):
                    page.watched = case["id"]
                for action in ("claim", "read", "release", "claim", "read", "release"):
                    version = case["version"] + 1
                    started = time.perf_counter()
                    form = {"csrf": csrf, "version": str(case["version"])}
                    answer = await expert.post(f"/portal/consults/{case['id']}/{action}", data=form)
                    answer.raise_for_status()
                    await screen.shows(case["id"], version)
                    took.append((time.perf_counter() - started) * 1000)
                    case["version"] = version
                    await asyncio.sleep(0.6)  # People do not click twice in half a second.
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
    p95 = statistics.quantiles(took, n=20)[-1]
    print(f"click to screen: p50 {statistics.median(took):.0f} ms, p95 {p95:.0f} ms, {len(took)} clicks", flush=True)
    return {
        "name": "consult-click-to-screen-p95",
        "ours": round(p95, 1),
        "peer": SCREEN_LIMIT_MS,
        "ratio": round(SCREEN_LIMIT_MS / p95, 2),
        "unit": "ms",
        "better": "lower",
        "aim": 1.0,
    }


async def _csrf(client: httpx.AsyncClient) -> str:
    page = await client.get("/portal/notices", headers={"Accept": "text/html"})
    found = re.search(r'"X-CSRF-Token": "([^"]+)"', html.unescape(page.text))
    if found is None:
        raise RuntimeError("the portal's page names no form token")
    return found[1]


async def main() -> None:
    """These figures alone."""
    with tempfile.TemporaryDirectory(prefix="region-bench-") as folder:
        async with Region() as region:
            for row in await measure(region, Path(folder)):
                print(row)


if __name__ == "__main__":
    asyncio.run(main())
