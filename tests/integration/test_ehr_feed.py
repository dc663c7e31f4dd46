"""An organisation's feed on the real MongoDB and Kafka: numbers without gaps, snapshots of what was missed, kills."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from imaging_common import mongo
from imaging_common.events import Envelope, Event, PatientLinked, ReportIssued, ResidentMerged, StudyChanged
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import read_all, send_raw
from imaging_native.asking import until
from imaging_native.region import Region
from imaging_native.tokens import program_token
from notification.feed.model import FeedEntry, Organisation
from notification.feed.mongo_feed import MongoFeed
from notification.feed.usecases import note_link, note_merge, tell_ehrs

NOW = datetime(2026, 11, 28, 8, tzinfo=UTC)
DOCS = Path(__file__).parents[2] / "docs"
CITY = Organisation(id="city", hospitals=frozenset({"community"}))


def study(uid: str, holder: str = "secondary", n: int = 1, resident: str | None = None) -> StudyChanged:
    """What the indexer says of a study."""
    return StudyChanged.model_validate(
        {
            "study_uid": uid, "holder": holder, "version": {"epoch": 1, "n": n}, "tier": "central",
            "announced": True, "settled": False, "stored": False, "series_count": 1, "instance_count": n,
            "announced_count": n, "stored_count": 0, "changed_at": NOW, "resident_id": resident,
        }
    )  # fmt: skip


def report(case: str, uid: str, holder: str = "secondary") -> ReportIssued:
    """What the consult service says of a report, asked for by the tertiary hospital."""
    return ReportIssued.model_validate(
        {
            "consult_id": case, "number": "C-20261128-0001", "version": {"epoch": 1, "n": 9}, "state": "issued",
            "applicant": "doctor.tertiary", "applicant_hospital": "tertiary", "consultant_hospital": "tcm",
            "studies": [{"study_uid": uid, "holder": holder}], "at": NOW, "report_id": f"r-{case}",
            "report_version": 1,
        }
    )  # fmt: skip


class Place:
    """A feed in a database of its own, told as Kafka tells it."""

    def __init__(self, client: Any, database: str) -> None:
        self.feed = MongoFeed(client, database, timedelta(days=7))

    async def say(self, event: Event, key: str, event_id: str | None = None, source: str = "/imaging/indexer") -> None:
        envelope = Envelope(
            id=event_id or uuid4().hex, type=event.type_name(), source=source, time=NOW, topic="t", key=key
        )
        if isinstance(event, PatientLinked):
            await note_link(self.feed, event, envelope)
        elif isinstance(event, ResidentMerged):
            await note_merge(self.feed, event)
        else:
            await tell_ehrs(self.feed, event, envelope)

    async def link(self, resident: str, organisation: str = "city") -> None:
        linked = PatientLinked(hospital="secondary", patient_id="7", resident_id=resident, revision=1)
        await self.say(linked, "7", source=f"/ehr/{organisation}")

    async def settle(self) -> None:
        """Do the snapshots that wait."""
        while await self.feed.step_snapshot():
            pass

    async def read(self, organisation: str = "city") -> list[FeedEntry]:
        return await self.feed.entries(organisation, 0, 1000)

    async def told(self, organisation: str = "city") -> list[str]:
        """What it was told, as `type study or case`."""
        return [told_of(entry) for entry in await self.read(organisation)]


def told_of(entry: FeedEntry) -> str:
    data = json.loads(entry.data)
    return f"{entry.event_type} {data.get('study_uid') or data['consult_id']}"


@pytest.fixture
async def place(servers: Any) -> AsyncIterator[Place]:
    client = mongo.connect(ServiceSettings(mongo_url=servers.mongodb.url("root")))
    database = f"notification-{uuid4().hex[:8]}"
    made = Place(client, database)
    await made.feed.prepare()
    yield made
    await client.drop_database(database)
    await client.close()


async def test_statement_gets_one_number_however_often_it_is_told(place: Place) -> None:
    await place.feed.ensure(CITY)
    for n in (1, 2, 3):
        for _ in range(2):
            await place.say(study("1.1", "community", n), "1.1", f"e{n}")
    await place.say(study("1.2"), "1.2")
    assert [(entry.seq, entry.event_id) for entry in await place.read()] == [(1, "e1"), (2, "e2"), (3, "e3")]


async def test_numbers_have_no_gaps_when_copies_write_at_once(place: Place, servers: Any) -> None:
    await place.feed.ensure(CITY)
    client = mongo.connect(ServiceSettings(mongo_url=servers.mongodb.url("root")))
    other = Place(client, place.feed.database.name)

    async def say(copy: Place, n: int) -> None:
        await copy.say(study(f"2.{n}", "community"), f"2.{n}", f"e{n}")

    await asyncio.gather(*(say(copy, n) for n in range(30) for copy in (place, other)))
    entries = await place.read()
    assert [entry.seq for entry in entries] == list(range(1, 31))
    assert {entry.event_id for entry in entries} == {f"e{n}" for n in range(30)}
    await client.close()


async def test_link_that_comes_late_brings_the_last_statement_of_each_study_and_the_last_report(place: Place) -> None:
    await place.feed.ensure(CITY)
    for n in (1, 2):
        await place.say(study("1.1", n=n, resident="R-1"), "1.1")
    await place.say(study("1.2", resident="R-2"), "1.2")
    await place.say(report("c1", "1.1"), "c1")
    await place.say(report("c2", "1.2"), "c2")
    await place.settle()
    assert await place.told() == []
    await place.link("R-1")
    await place.link("R-1")
    await place.settle()
    assert sorted(await place.told()) == ["ReportIssued c1", "StudyChanged 1.1"]
    (shown,) = [json.loads(entry.data) for entry in await place.read() if entry.event_type == "StudyChanged"]
    assert shown["version"]["n"] == 2
    await place.say(study("1.1", n=3, resident="R-1"), "1.1")
    assert len(await place.told()) == 3


async def test_study_that_comes_to_a_linked_resident_brings_its_reports(place: Place) -> None:
    await place.feed.ensure(CITY)
    await place.link("R-1")
    await place.say(study("1.1"), "1.1")
    await place.say(report("c1", "1.1"), "c1")
    await place.settle()
    assert await place.told() == []
    await place.say(study("1.1", n=2, resident="R-1"), "1.1")
    assert await place.told() == ["StudyChanged 1.1", "ReportIssued c1"]


async def test_statement_that_takes_a_study_away_is_the_last_that_is_told(place: Place) -> None:
    await place.feed.ensure(CITY)
    await place.link("R-1")
    await place.say(study("1.1", n=1, resident="R-1"), "1.1")
    await place.say(study("1.1", n=2), "1.1")
    await place.say(study("1.1", n=3), "1.1")
    await place.settle()
    assert [json.loads(entry.data)["version"]["n"] for entry in await place.read()] == [1, 2]


async def test_residents_that_turn_out_to_be_one_bring_what_was_the_others(place: Place) -> None:
    await place.feed.ensure(CITY)
    await place.link("R-1")
    await place.say(study("1.9", resident="R-9"), "1.9")
    merged = ResidentMerged(resident_id="R-1", into="R-9", revision=1)
    await place.say(merged, "R-1")
    await place.settle()
    assert await place.told() == ["StudyChanged 1.9"]


async def test_hospital_and_organisation_that_come_late_get_what_they_missed_and_nothing_twice(place: Place) -> None:
    await place.feed.ensure(CITY)
    for n, holder in enumerate(("community", "secondary", "tcm")):
        for version in (1, 2):
            await place.say(study(f"3.{n}", holder, version), f"3.{n}")
    await place.settle()
    assert await place.told() == ["StudyChanged 3.0"] * 2
    wider = CITY.model_copy(update={"hospitals": frozenset({"community", "secondary"})})
    assert (await place.feed.change(wider)).revision == 2
    await place.settle()
    assert await place.told() == ["StudyChanged 3.0"] * 2 + ["StudyChanged 3.1"]
    await place.feed.add(Organisation(id="county", hospitals=frozenset({"secondary", "tcm"})))
    await place.settle()
    assert await place.told("county") == ["StudyChanged 3.1", "StudyChanged 3.2"]
    (job,) = await place.feed.snapshots("county")
    assert (job.put, job.done_at is not None) == (2, True)


async def test_feed_is_on_the_topic_once_per_number_in_order_when_notification_is_killed(region: Region) -> None:
    mark = uuid4().int % 10**12
    uids = [f"2.25.{mark}.{n}" for n in range(40)]
    sent = {(uid, n): uuid4().hex for n in (1, 2, 3, 4) for uid in uids}
    indexer = _settings(region, "indexer")
    for number, part in enumerate((1, 2, 3, 4)):
        records = [_record(study(uid, "community", part), uid, sent[uid, part]) for uid in uids]
        await send_raw(indexer, "study-changed", records)
        if number in (1, 2):
            await region.kill("notification")
            await region.restart("notification")

    reader = _settings(region, "ehr-residents")

    async def arrived() -> list[Any]:
        found = await read_all(reader, "ehr-residents-events")
        ids = {dict(one.headers)["ce_id"].decode() for one in found}
        return found if ids >= set(sent.values()) else []

    records = await until(arrived, "all statements on the EHR's topic")
    order = [(int(dict(one.headers)["ce_sequence"]), dict(one.headers)["ce_id"].decode()) for one in records]
    once = list(dict.fromkeys(order))
    assert [seq for seq, _ in once] == list(range(once[0][0], once[0][0] + len(once)))
    ids = [event_id for _, event_id in once]
    assert len(set(ids)) == len(ids)
    for uid in uids:
        told = [ids.index(sent[uid, n]) for n in (1, 2, 3, 4)]
        assert told == sorted(told)


async def test_ehr_reads_its_feed_over_http_from_any_number_or_time(region: Region) -> None:
    uid = f"2.25.{uuid4().int % 10**12}"
    begun = datetime.now(UTC)
    await send_raw(_settings(region, "indexer"), "study-changed", [_record(study(uid, "tcm"), uid, uuid4().hex)])
    token = await program_token(region.state["issuer"], "ehr-residents", region.client_secret("ehr-residents"))
    bearer = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=region.portal, headers=bearer, timeout=20) as ehr:

        async def told() -> Any:
            answer = await ehr.get("/ehr/events", params={"since": begun.isoformat()})
            assert answer.status_code == 200, answer.text
            return [one for one in answer.json()["events"] if one["data"].get("study_uid") == uid]

        (event,) = await until(told, "the statement in the EHR's feed")
        number = int(event["sequence"])
        page = (await ehr.get("/ehr/events", params={"after": number - 1, "limit": 1})).json()
        assert page["events"] == [event]
        assert page["next"] == number
        assert (await ehr.get("/ehr/events", params={"after": page["newest"]})).json()["events"] == []
        assert (await ehr.get("/ehr/events", params={"after": 10**9})).status_code == 422
        assert (await ehr.get("/ehr/events")).status_code == 422
        own = f"{region.state['notification']}/feeds"
        assert (await ehr.get(f"{own}/other/events", params={"after": 0})).status_code == 403
    async with httpx.AsyncClient(timeout=20) as nobody:
        assert (await nobody.get(f"{own}/residents/events", params={"after": 0})).status_code == 401


async def test_vendors_examples_follow_the_feed_in_each_way(region: Region, tmp_path: Path) -> None:
    uids = [f"2.25.{uuid4().int % 10**12}" for _ in range(3)]
    begun = datetime.now(UTC)
    records = [_record(study(uid, "community"), uid, uuid4().hex) for uid in uids]
    await send_raw(_settings(region, "indexer"), "study-changed", records)
    secret = region.client_secret("ehr-residents")
    places = {
        "kafka": ["--bootstrap", region.kafka.bootstrap, "--protocol", "SASL_PLAINTEXT"],
        "pull": ["--portal", region.portal, "--issuer", region.state["issuer"]],
    }
    secrets = {"EHR_KAFKA_PASSWORD": region.kafka.passwords["ehr-residents"], "EHR_CLIENT_SECRET": secret}
    numbers = {}
    for way, words in places.items():
        state = ["--state", str(tmp_path / way), "--since", begun.isoformat(), "--count", "3"]
        told = await _run([sys.executable, str(DOCS / "examples" / "ehr_subscriber.py"), way, *words, *state], secrets)
        events = [json.loads(line) for line in told.splitlines()]
        assert {one["data"].get("study_uid") for one in events} <= set(uids)
        numbers[way] = [int(one["sequence"]) for one in events]
        assert (tmp_path / way).read_text() == str(numbers[way][-1])
    assert numbers["kafka"] == numbers["pull"]

    text = (DOCS / "ehr-vendors.md").read_text("utf-8")
    (example,) = re.findall(r"^## curl$.*?```sh\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    here = {"PORTAL": region.portal, "ISSUER": region.state["issuer"], "AFTER": str(numbers["pull"][0])}
    page = json.loads(await _run(["bash", "-euc", example], secrets | here))
    assert [int(one["sequence"]) for one in page["events"]][:2] == numbers["pull"][1:]


async def _run(words: list[str], variables: dict[str, str]) -> str:
    """What a program prints."""
    process = await asyncio.create_subprocess_exec(
        *words, env={**os.environ, **variables}, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0
    return told.decode()


def _settings(region: Region, principal: str) -> ServiceSettings:
    return ServiceSettings(
        kafka_bootstrap=region.kafka.bootstrap,
        kafka_username=principal,
        kafka_password=SecretStr(region.kafka.passwords[principal]),
    )


def _record(event: Event, key: str, event_id: str) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    headers = {
        "ce_specversion": "1.0", "ce_id": event_id, "ce_type": event.type_name(), "ce_source": "/imaging/test",
        "ce_time": NOW.isoformat(), "content-type": "application/json",
    }  # fmt: skip
    encoded = [(name, text.encode()) for name, text in headers.items()]
    return key.encode(), event.model_dump_json().encode(), encoded
