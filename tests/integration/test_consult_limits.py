"""Time limits, policies and statistics of consults over the real servers, with copies of the service that die."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from consult.adapters.mongo_consults import MongoConsultStore
from consult.limits import MongoTimers, Scheduler
from consult.limits.model import followed, next_due
from consult.model import Action, Consult, State
from consult.model.case import LimitName
from consult.ports import Change
from consult.statistics import MongoFigures
from consult.statistics.model import Asked, By, row_of
from imaging_common.events import ConsultTimeLimit
from imaging_common.messaging.cloudevents import read_envelope, read_event
from imaging_common.messaging.outbox import Outbox
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import read_all
from imaging_native import ct
from imaging_native.applications import Case, Person, application, of_study
from imaging_native.asking import until
from imaging_native.distributed import fill_pacs, until_listed
from imaging_native.region import Region
from imaging_native.session import portal_client

FAST = {"CONSULT_LIMIT_MINUTE_SECONDS": "0.1", "CONSULT_LIMIT_POLL_SECONDS": "0.1"}
MINUTES = {"accept": 60, "opinion": 120, "report": 180}
"""6, 12 and 18 seconds for the fast copies."""
STEPS = [(limit, step) for limit in MINUTES for step in ("reminder", "overdue", "escalated")]
SLOW_CASES = 10
SLICES = 2
Told = dict[str, tuple[str, str, str]]
"""Id of the event → case, limit, step."""


@pytest.fixture(scope="module")
async def study(region: Region, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A CT of the chest, of the community hospital."""
    folder: Path = tmp_path_factory.mktemp("limits")
    series = await asyncio.to_thread(ct.write_series, folder, slices=SLICES, seed=secrets.randbelow(10**9))
    await fill_pacs({**region.state["edges"]["community"], "dicomweb": ""}, series.files)
    doctor = await portal_client(region.state, "doctor.community")
    await until_listed(doctor, series.study_uid, SLICES)
    await doctor.aclose()
    return of_study(series.study_uid, "community")


@pytest.fixture
def body(study: dict[str, str]) -> dict[str, Any]:
    """A routine application to the secondary hospital."""
    return application(studies=[study])


class Operator:
    """Sets the policy of a hospital."""

    def __init__(self, person: Person) -> None:
        self.person = person

    async def policy(self, hospital: str) -> dict[str, Any]:
        """As it is now."""
        path = f"/consults/policies/{hospital}"
        return dict((await self.person.client.get(path, headers=self.person.headers)).raise_for_status().json())

    async def put_at(self, hospital: str, revision: int, **policy: Any) -> httpx.Response:
        """Replace it, as it was seen."""
        content = {"revision": revision, **policy}
        path = f"/consults/policies/{hospital}"
        return await self.person.client.put(path, json=content, headers=self.person.headers)

    async def put(self, hospital: str, **policy: Any) -> None:
        """Replace it, whatever it is."""
        revision = (await self.policy(hospital))["revision"]
        (await self.put_at(hospital, revision, **policy)).raise_for_status()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def operator(region: Region, stack: AsyncExitStack) -> AsyncIterator[Operator]:
    """Afterwards the hospital's policy is the region's again."""
    operator = Operator(await stack.enter_async_context(Person.signed_in(region, "operator.region")))
    yield operator
    await operator.put("secondary")


async def told(region: Region) -> Told:
    """What was told of time limits: an event that is delivered again has the same id."""
    state = region.state["kafka"]
    settings = ServiceSettings(
        kafka_bootstrap=state["bootstrap"],
        kafka_username="notification",
        kafka_password=SecretStr(state["users"]["notification"]),
    )
    found: Told = {}
    for record in await read_all(settings, "consult-changed"):
        envelope = read_envelope(record)
        event = read_event(record, envelope)
        if isinstance(event, ConsultTimeLimit):
            found[envelope.id] = (event.consult_id, event.limit, event.step)
    return found


async def until_told(region: Region, cases: list[Case], *steps: tuple[str, str]) -> None:
    """Wait until these steps of all these cases were told."""
    wanted = {(case["id"], *step) for case in cases for step in steps}

    async def all_told() -> bool:
        return wanted <= set((await told(region)).values())

    await until(all_told, f"{steps} of {len(cases)} cases told")


async def test_each_step_of_each_limit_is_told_once_whichever_copies_die(
    region: Region, operator: Operator, stack: AsyncExitStack, body: dict[str, Any]
) -> None:
    await operator.put("secondary", limits={"routine": {"secondary": MINUTES}})
    doctor, expert = [
        await stack.enter_async_context(Person.signed_in(region, name))
        for name in ("doctor.community", "expert.secondary")
    ]
    addresses = [await region.add_copy("consult", name, **FAST) for name in ("consult-2", "consult-3")]
    try:
        fast = [await stack.enter_async_context(httpx.AsyncClient(base_url=one, timeout=30)) for one in addresses]
        applicant, reader = Person(fast[0], doctor.token), Person(fast[1], expert.token)
        returned = await applicant.apply(body)
        returned = await reader.act(returned, "return", reason="请补充病史")
        quick = await reader.to_issued(await applicant.apply(body))
        slow = await asyncio.gather(*(applicant.apply(body) for _ in range(SLOW_CASES)))
        await until_told(region, slow[:1], ("accept", "reminder"))
        await region.kill("consult-2")
        await until_told(region, slow[:1], ("accept", "overdue"))
        await asyncio.gather(region.kill("consult-3"), region.kill("consult"))
        await region.restart("consult")
    finally:
        for name in ("consult-2", "consult-3"):
            await region.processes.pop(name).stop()
    await until_told(region, slow, *STEPS)
    of_returned = [step for case_id, *step in (await told(region)).values() if case_id == returned["id"]]
    assert of_returned == [], "its limits stand still"
    returned = await doctor.act(await doctor.read(returned["id"]), "submit")
    await until_told(region, [returned], *STEPS)

    ids = [case["id"] for case in (*slow, returned)]
    timers = region.client("root")["consult"]["timers"]
    assert await timers.count_documents({"_id": {"$in": [*ids, quick["id"]]}}) == 0
    counted = Counter(one for one in (await told(region)).values() if one[0] in (*ids, quick["id"]))
    assert counted == dict.fromkeys(((case_id, *step) for case_id in ids for step in STEPS), 1)

    params = {"box": "received", "limit": "200"}
    boxes = {}
    for overdue in ("true", "false"):
        answer = await expert.client.get("/consults", params={**params, "overdue": overdue}, headers=expert.headers)
        boxes[overdue] = {one["id"] for one in answer.json()}
    assert set(ids) <= boxes["true"]
    assert quick["id"] in boxes["false"]
    case = await expert.read(slow[0]["id"])
    assert (case["version"], case["overdue"], len(case["timeline"])) == (1, True, 1)
    case = await expert.to_issued(case)
    assert (case["overdue"], {one["overdue"] for one in case["limits"]}) == (False, {True})


async def test_policy_is_the_hospitals_and_holds_for_its_reports(
    region: Region, operator: Operator, stack: AsyncExitStack, body: dict[str, Any]
) -> None:
    doctor, expert, chief, foreign = [
        await stack.enter_async_context(Person.signed_in(region, name))
        for name in ("doctor.community", "expert.secondary", "chief.secondary", "operator.community")
    ]
    letterhead = {"name_zh": "第二医院", "name_en": "Second", "address": "和平路 1 号", "phone": "010-5550-0101"}
    revision = (await operator.policy("secondary"))["revision"]
    both = await asyncio.gather(
        *(operator.put_at("secondary", revision, second_reader="always", letterhead=letterhead) for _ in range(2))
    )
    assert sorted(one.status_code for one in both) == [200, 409]
    kept = await operator.policy("secondary")
    assert (kept["revision"], kept["second_reader"], kept["letterhead"]) == (revision + 1, "always", letterhead)
    assert (await operator.put_at("nowhere", 0)).status_code == 404
    assert (await operator.put_at("secondary", revision + 1, second_reader="by-modality")).status_code == 422
    assert (await Operator(foreign).put_at("secondary", revision + 1)).status_code == 403
    own = await Operator(foreign).policy("community")
    assert {name: own[name] for name in ("second_reader", "limits")} == {"second_reader": "never", "limits": {}}

    case = await doctor.apply(body)
    due = [datetime.fromisoformat(one["due_at"]) - datetime.fromisoformat(case["created_at"]) for one in case["limits"]]
    assert [round(one / timedelta(hours=1)) for one in due] == [8, 24, 48], "the region's own"
    with pytest.raises(httpx.HTTPStatusError, match="second reader"):
        await expert.to_issued(case)
    case = await expert.read(case["id"])
    assert (case["second_reader_required"], "issue" in case["allowed"]) == (True, False)
    case = await expert.act(case, "request-review")
    await chief.act(await chief.read(case["id"]), "approve")
    assert (await expert.act(await expert.read(case["id"]), "issue"))["state"] == "issued"


async def test_statistics_are_of_the_operators_hospital(
    region: Region, operator: Operator, stack: AsyncExitStack, body: dict[str, Any]
) -> None:
    doctor, expert, foreign = [
        await stack.enter_async_context(Person.signed_in(region, name))
        for name in ("doctor.community", "expert.secondary", "operator.community")
    ]

    async def rows(person: Person, **params: str) -> dict[str, dict[str, Any]]:
        answer = await person.client.get("/consults/statistics", params=params, headers=person.headers)
        return {row["key"]: row for row in answer.raise_for_status().json()["rows"]}

    everybody = operator.person
    before = (await rows(everybody)).get("secondary", {"count": 0, "issued": 0})
    await doctor.apply(body)
    await expert.to_issued(await doctor.apply(body))
    after = (await rows(everybody))["secondary"]
    assert (after["count"] - before["count"], after["issued"] - before["issued"]) == (2, 1)
    assert 0 <= after["median_hours"] <= after["p90_hours"]
    assert (await rows(everybody, by="expert"))["expert.secondary"]["name"]
    assert sum(one["count"] for one in (await rows(everybody, by="month")).values()) >= after["count"]
    assert set(await rows(foreign)) <= {"community"}
    assert await rows(everybody, **{"from": "2020-01-01", "to": "2020-12-31"}) == {}
    headers = {**everybody.headers, "Accept": "text/csv"}
    sheet = await everybody.client.get("/consults/statistics", headers=headers)
    assert sheet.headers["content-type"].startswith("text/csv")
    assert sheet.text.splitlines()[0] == "key,name,count,issued,overdue,median_hours,p90_hours"
    refused = await doctor.client.get("/consults/statistics", headers=doctor.headers)
    assert refused.status_code == 403
    wrong = {"from": "2026-02-01", "to": "2026-01-01"}
    assert (await everybody.client.get("/consults/statistics", params=wrong, headers=everybody.headers)).is_error


def kept_case(number: int, submitted_at: datetime, hours: list[float], late: list[str]) -> dict[str, Any]:
    """What the statistics read of a case: issued after so many hours, each version."""
    steps = [{"action": "submit", "at": submitted_at}]
    steps += [{"action": "issue", "at": submitted_at + timedelta(hours=one)} for one in hours]
    expert = f"expert.{number % 2}" if hours else None
    return {
        "_id": str(number), "submitted_at": submitted_at, "timeline": steps, "expert": expert,
        "expert_name": f"专家{number % 2}" if expert else None, "consultant_hospital": "secondary",
        "limits": [{"name": name, "overdue": name in late} for name in ("accept", "report", "critical")],
    }  # fmt: skip


async def test_figures_are_counted_in_the_database(servers: Region) -> None:
    client = servers.client("root")
    database = client[f"consult-figures-{uuid4().hex[:8]}"]
    begin = datetime(2026, 1, 31, 15, 59, tzinfo=UTC)
    try:
        cases = [kept_case(number, begin, [float(number + 1), 99.0], []) for number in range(10)]
        cases += [
            kept_case(10, begin + timedelta(minutes=2), [], ["accept", "report"]),
            kept_case(11, begin, [], ["critical"]),
            {**kept_case(12, begin, [], []), "submitted_at": None},
            {**kept_case(13, begin, [], []), "consultant_hospital": "tertiary"},
        ]
        await database["consults"].insert_many(cases)
        figures = MongoFigures(database, "Asia/Shanghai")
        await figures.prepare()

        async def found(by: By, hospital: str | None = "secondary") -> list[tuple[Any, ...]]:
            asked = Asked(begin - timedelta(days=1), begin + timedelta(days=1), by, hospital)
            rows = [row_of(group) for group in await figures.groups(asked)]
            return [tuple(row.model_dump().values()) for row in rows]

        assert await found(By.HOSPITAL) == [("secondary", "", 12, 10, 1, 5.5, 9.0)]
        assert [row[:3] for row in await found(By.HOSPITAL, None)] == [("secondary", "", 12), ("tertiary", "", 1)]
        assert await found(By.EXPERT) == [
            ("expert.0", "专家0", 5, 5, 0, 5.0, 9.0),
            ("expert.1", "专家1", 5, 5, 0, 6.0, 10.0),
        ]
        assert [row[:5] for row in await found(By.MONTH)] == [("2026-01", "", 11, 10, 0), ("2026-02", "", 1, 0, 1)]
    finally:
        await client.drop_database(database)


async def test_schedulers_of_many_copies_take_each_step_once(servers: Region) -> None:
    client = servers.client("root")
    database = client[f"consult-timers-{uuid4().hex[:8]}"]
    store, timers = MongoConsultStore(client, database.name, Outbox(database)), MongoTimers(database)
    begin = datetime(2026, 11, 24, 8, tzinfo=UTC)
    spans: dict[LimitName, timedelta] = {name: timedelta(minutes=10) for name in ("accept", "opinion", "report")}
    times = [begin]
    try:
        await asyncio.gather(store.prepare(), timers.prepare())
        for number in range(20):
            case = Consult(
                id=uuid4().hex, number=f"C-{number}", version=1, state=State.SUBMITTED, applicant="doctor.community",
                applicant_name="", applicant_hospital="community", consultant_hospital="secondary", created_at=begin,
                submitted_at=begin, timeline=[],
            )  # fmt: skip
            case = followed(case, Action.SUBMIT, begin, spans)
            assert await store.commit([Change(None, case)], writes=[timers.write(case.id, next_due(case))])
        copies = [Scheduler(store, timers, lambda: times[-1]) for _ in range(4)]
        for minutes in (8, 11, 16):
            times.append(begin + timedelta(minutes=minutes))
            counts = await asyncio.gather(*(copy.take_due() for copy in copies))
            assert sum(counts) == 60, counts
        assert await database["timers"].count_documents({}) == 0
        assert await database["events"].count_documents({"type": "ConsultTimeLimit"}) == 180
        assert await database["consults"].count_documents({"overdue": True, "version": 1}) == 20
    finally:
        await client.drop_database(database)
