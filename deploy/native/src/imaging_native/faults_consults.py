"""Faults of the consultation: consult, notification and the mail server are killed at random during many cases.

Doctors and experts do what people do: they click, see an error, look at the case, and click again. The ledger at the
end: every case is where its people brought it, each transition happened once and was told by one event; every notice
of the portal is there once; every e-mail came at least once under one Message-ID, or is reported undeliverable.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
from pydantic import SecretStr

from imaging_common.events import ConsultEvent, NoticeRaised
from imaging_common.messaging.cloudevents import read_envelope, read_event
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import read_all
from imaging_native import applications, ct
from imaging_native.asking import until
from imaging_native.distributed import fill_pacs, until_listed
from imaging_native.region import Region
from imaging_native.session import portal_client
from imaging_native.tokens import person_token

CASES = 200
AT_ONCE = 8
VICTIMS = ("consult", "notification", "mailbox")
SIGN_IN_SECONDS = 120.0
"""A person signs in again after so long: who issues a report has to have signed in within 300 s."""
PATIENCE_SECONDS = 90.0
NOTICE_SECONDS = 300.0
"""A backlog of events is worked off after the kills."""
MAIL_SECONDS = 600.0
"""A delivery that failed often is tried again after up to five minutes."""
WAY = ("submit", "claim", "read", "draft", "issue", "acknowledge")


@dataclass
class Worker:
    """Somebody with a sign-in that is never old."""

    region: Region
    user: str
    _token: str = ""
    _signed_in: float = -1e9
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def token(self) -> str:
        """A token of a sign-in of the last two minutes."""
        async with self._lock:
            if time.monotonic() - self._signed_in > SIGN_IN_SECONDS:
                self._token = await person_token(self.region.state, self.user, self.region.client_secret("portal"))
                self._signed_in = time.monotonic()
            return self._token


class Desk:
    """Plays cases against a consult service (at `url`, if not the region's own address) that goes away now and then."""

    def __init__(self, region: Region, study: dict[str, str], url: str = "") -> None:
        self._doctor, self._expert = Worker(region, "doctor.community"), Worker(region, "expert.secondary")
        self._study = study
        self._client = httpx.AsyncClient(base_url=url or region.state["consult"], timeout=10)
        self.again = 0
        """Clicks that had to be repeated."""

    async def __aenter__(self) -> "Desk":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def play(self) -> str:
        """A whole case; its id."""
        key, body = uuid4().hex, applications.application(studies=[self._study])

        async def apply() -> applications.Case:
            headers = {"Authorization": f"Bearer {await self._doctor.token()}", "Idempotency-Key": key}
            answer = await self._client.post("/consults", json=body, headers=headers)
            answer.raise_for_status()
            return dict(answer.json())

        case = await self._insisting(apply)
        for action in WAY[1:]:
            case = await self._step(case["id"], action)
        return str(case["id"])

    async def _step(self, case_id: str, action: str) -> applications.Case:
        """Look at the case; click unless that is done already."""
        who = self._doctor if action == "acknowledge" else self._expert

        async def click() -> applications.Case:
            token = await who.token()
            case = await applications.read(self._client, token, case_id)
            if action in [step["action"] for step in case["timeline"]]:
                return case
            if action == "draft":
                return await applications.write(self._client, token, case)
            return await applications.act(self._client, token, case, action)

        return await self._insisting(click)

    async def _insisting(self, click: Callable[[], Awaitable[applications.Case]]) -> applications.Case:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    return await click()
                except httpx.TransportError:
                    self.again += 1
                except httpx.HTTPStatusError as error:
                    if error.response.status_code < 500 and error.response.status_code != 409:
                        raise
                    self.again += 1
                await asyncio.sleep(0.3)


async def play_consult_faults(chance: random.Random, work: Path, cases: int = CASES) -> int:
    """Play the cases while the victims are killed; how many promises were broken."""
    async with Region() as region:
        series = await asyncio.to_thread(ct.write_series, work / "consults", slices=2, seed=chance.randrange(10**6))
        await fill_pacs({**region.state["edges"]["community"], "dicomweb": ""}, series.files)
        doctor = await portal_client(region.state, "doctor.community")
        await until_listed(doctor, series.study_uid, 2)
        await doctor.aclose()
        study = applications.of_study(series.study_uid, "community")
        started = time.monotonic()
        kills: Counter[str] = Counter()
        async with Desk(region, study) as desk:
            todo, done = asyncio.Queue[int](), list[str]()
            for number in range(cases):
                todo.put_nowait(number)

            async def work_off() -> None:
                while not todo.empty():
                    todo.get_nowait()
                    done.append(await desk.play())

            playing = asyncio.gather(*(work_off() for _ in range(AT_ONCE)))
            killing = asyncio.create_task(_kill_at_random(region, chance, kills))
            try:
                await playing
            finally:
                killing.cancel()
                await asyncio.gather(killing, return_exceptions=True)
            for name in VICTIMS:
                if region.processes[name].pid is None:
                    await region.restart(name)
            broken = await Ledger(region, done).check()
        killed = ", ".join(f"{name} {count}" for name, count in sorted(kills.items()))
        print(
            f"{'consults':22} {len(done)} cases  SIGKILL: {killed}  clicked again {desk.again}  "
            f"broken promises {len(broken)}  {time.monotonic() - started:.1f} s",
            flush=True,
        )
        for line in broken[:20]:
            print(f"{'':22} {line}", flush=True)
    return len(broken)


async def _kill_at_random(region: Region, chance: random.Random, kills: Counter[str]) -> None:
    """One of the victims at a time, back after a moment, until cancelled."""
    while True:
        await asyncio.sleep(chance.uniform(1.0, 4.0))
        victim = chance.choice(VICTIMS)
        await region.kill(victim)
        kills[victim] += 1
        await asyncio.sleep(chance.uniform(0.2, 3.0))
        await region.restart(victim)


class Ledger:
    """What must be true at the end, each breach a line."""

    def __init__(self, region: Region, cases: list[str]) -> None:
        self._region = region
        self._cases = set(cases)

    async def check(self) -> list[str]:
        """Wait until everything that is under way has come, then count."""
        broken = await self._transitions()
        events = await until(self._all_told, "every transition's event")
        broken += self._doubled(events)
        broken += await self._notices()
        return broken + await self._mails()

    async def _transitions(self) -> list[str]:
        """No state lost, none doubled: the whole way once, version by version."""
        found = self._region.client("root")["consult"]["consults"].find({"_id": {"$in": sorted(self._cases)}})
        broken, seen = [], set()
        async for case in found:
            seen.add(case["_id"])
            way = tuple(step["action"] for step in case["timeline"])
            if way != WAY or case["version"] != len(WAY) or case["state"] != "acknowledged":
                broken.append(f"{case['number']}: {' '.join(way)} at version {case['version']}")
        return broken + [f"{case} is lost" for case in sorted(self._cases - seen)]

    async def _all_told(self) -> list[tuple[str, ConsultEvent]] | None:
        settings = self._settings()
        records = [*await read_all(settings, "consult-changed"), *await read_all(settings, "report-changed")]
        told = [(read_envelope(record).id, read_event(record, read_envelope(record))) for record in records]
        events = [
            (event_id, event)
            for event_id, event in told
            if isinstance(event, ConsultEvent) and event.consult_id in self._cases
        ]
        versions = {(event.consult_id, event.version.n) for _, event in events}
        return events if len(versions) >= len(self._cases) * len(WAY) else None

    @staticmethod
    def _doubled(events: list[tuple[str, ConsultEvent]]) -> list[str]:
        """The same event may come twice; two events for one transition may not."""
        ids: dict[tuple[str, int, str], set[str]] = {}
        for event_id, event in events:
            ids.setdefault((event.consult_id, event.version.n, event.type_name()), set()).add(event_id)
        return [
            f"{kind} of {case} version {version} was told by {len(found)} events"
            for (case, version, kind), found in ids.items()
            if len(found) > 1
        ]

    async def _notices(self) -> list[str]:
        """What was raised is in the portal, once for each event and recipient."""
        notices = self._region.client("root")["gateway"]["notices"]
        wanted = {(f"/portal/consults/{case}", kind, who) for case in self._cases for kind, who in TOLD.items()}

        async def there() -> Counter[tuple[str, str, str]]:
            found = notices.find({"kind": {"$in": list(TOLD)}})
            return Counter([(one["link"], one["kind"], one["recipient"]) async for one in found])

        async def all_there() -> bool:
            return wanted <= set(await there())

        with contextlib.suppress(AssertionError):  # Which ones are missing is told below.
            await until(all_there, "every notice in the portal", NOTICE_SECONDS)
        counted = await there()
        raised = [read_event(one, read_envelope(one)) for one in await read_all(self._settings(), "notice-raised")]
        ids = {event.notice_id for event in raised if isinstance(event, NoticeRaised)}
        kept = await notices.count_documents({"_id": {"$in": sorted(ids)}})
        broken = [f"{len(ids) - kept} notices that were raised are not in the portal"] if kept != len(ids) else []
        broken += [f"{kind} for {who} ({link}) is there {n} times" for (link, kind, who), n in counted.items() if n > 1]
        return broken + [f"{kind} ({link}) was told to nobody" for link, kind, who in sorted(wanted - set(counted))]

    async def _mails(self) -> list[str]:
        """Every delivery by e-mail has ended; what is called sent is in the mailbox under its Message-ID."""
        database = self._region.client("root")["notification"]
        deliveries, plans = database["deliveries"], database["plans"]

        async def ended() -> bool:
            waiting = await deliveries.count_documents({"channel": "e-mail", "state": "waiting"})
            return waiting + await plans.count_documents({}) == 0

        await until(ended, "the end of every delivery by e-mail", MAIL_SECONDS)
        async with httpx.AsyncClient(base_url=self._region.state["mail"]["http"], timeout=60) as client:
            messages = (await client.get("/messages")).json()["messages"]
        came = Counter(_delivery_of(message["headers"].get("Message-ID", "")) for message in messages)
        sent = [one async for one in deliveries.find({"channel": "e-mail", "state": "sent"})]
        broken = [f"the e-mail {one['_id']} is called sent and never came" for one in sent if not came[one["_id"]]]
        kinds = Counter((one["link"], one["kind"]) for one in sent)
        kinds += Counter([(one["link"], one["kind"]) async for one in deliveries.find({"state": "undeliverable"})])
        for case in sorted(self._cases):
            if not kinds[f"/portal/consults/{case}", MAILED]:
                broken.append(f"no e-mail tells of {MAILED} of {case}, and none is called undeliverable")
        twice = sum(1 for one in sent if came[one["_id"]] > 1)
        print(f"{'':22} {len(sent)} e-mails sent, {twice} of them came more than once", flush=True)
        return broken

    def _settings(self) -> ServiceSettings:
        state = self._region.state["kafka"]
        return ServiceSettings(
            kafka_bootstrap=state["bootstrap"],
            kafka_username="gateway",
            kafka_password=SecretStr(state["users"]["gateway"]),
        )


TOLD = {
    "consult-submitted": "hospital:secondary:expert",
    "report-issued": "user:doctor.community",
    "consult-acknowledged": "user:expert.secondary",
}
"""Notices that each of these cases raises, and for whom."""
MAILED = "report-issued"
"""What nobody looks at in the portal here, so that an e-mail tells of it."""


def _delivery_of(message_id: str) -> str:
    """The delivery's id in a Message-ID: the same however often it is sent."""
    return message_id.strip("<> ").partition("@")[0]
