"""Who is the same person, on the real servers: the EHR speaks over Kafka, the index follows, also when killed."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from imaging_common import mongo
from imaging_common.events import PatientLinked, PatientUnlinked, ResidentMerged
from imaging_common.index.listing import STUDY_INDEXES
from imaging_common.messaging.outbox import Outbox
from imaging_common.settings import ServiceSettings
from imaging_native import ct
from imaging_native.asking import until
from imaging_native.ehr_says import say_as_ehr
from imaging_native.region import Region
from imaging_native.session import portal_client
from indexer.adapters.fill_listings import fill_listings
from indexer.adapters.mongo_index import MongoIndex
from indexer.adapters.mongo_links import MongoLinks
from indexer.model import Facts, study_facts
from indexer.ports import StudyUnit
from indexer.usecases.link_patient import LinkPatient
from indexer.usecases.restate_study import restate_study

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
EHR = PatientLinked(hospital="community", patient_id="1001", resident_id="R-1", revision=1)
OPERATOR = EHR.model_copy(update={"resident_id": "R-9", "source": "operator"})


class Place:
    """The indexer's stores in a database of their own."""

    def __init__(self, client: Any, database: Any) -> None:
        self.database = database
        self.index = MongoIndex(client, database, Outbox(database))
        self.links = MongoLinks(client, database)
        self.link = LinkPatient(self.index, self.links)

    async def add(self, uid: str, number: str = "1001", holder: str = "community") -> None:
        """Index a study of a patient, without instances."""
        facts = Facts(uid, study_facts({"00100020": {"vr": "LO", "Value": [number]}}))

        async def work(unit: StudyUnit) -> None:
            await restate_study(unit, holder, uid, tier="central", epoch=1, now=NOW, facts=facts)

        await self.index.change(holder, uid, work)

    async def who(self) -> dict[str, tuple[Any, str]]:
        """Study → resident, and who said so."""
        found = await self.database.studies.find().sort("_id").to_list()
        return {document["study_uid"]: (document["resident_id"], document["linked_by"]) for document in found}

    async def told(self) -> int:
        return int(await self.database.events.count_documents({"topic": "study-changed"}))


@pytest.fixture
async def place(servers: Any) -> AsyncIterator[Place]:
    client = mongo.connect(ServiceSettings(mongo_url=servers.mongodb.url("root")))
    database = client[f"index-{uuid4().hex[:8]}"]
    made = Place(client, database)
    await made.index.prepare()
    await made.links.prepare()
    yield made
    await client.drop_database(database)
    await client.close()


async def test_index_follows_for_earlier_and_later_studies_when_a_patient_is_linked(place: Place) -> None:
    for n in range(3):
        await place.add(f"1.{n}")
    await place.add("2.1", number="1002")
    await place.link(EHR)
    await place.add("1.9")
    linked = ("R-1", "ehr")
    assert await place.who() == {"1.0": linked, "1.1": linked, "1.2": linked, "1.9": linked, "2.1": (None, "")}
    assert await place.told() == 4 + 3 + 1
    await place.link(EHR)
    assert await place.told() == 8
    assert await place.links.unapplied(10) == []


async def test_ehr_goes_before_an_operator_and_takes_back_its_own_link_only(place: Place) -> None:
    await place.add("1.1")
    await place.link(OPERATOR)
    assert await place.who() == {"1.1": ("R-9", "operator")}
    await place.link(EHR)
    await place.link(OPERATOR.model_copy(update={"revision": 7}))
    assert await place.who() == {"1.1": ("R-1", "ehr")}
    await place.link(PatientUnlinked(hospital="community", patient_id="1001", revision=2))
    assert await place.who() == {"1.1": ("R-9", "operator")}


async def test_killed_between_link_and_studies_goes_on_where_it_was(place: Place) -> None:
    await place.add("1.1")
    await place.add("1.2")
    await place.links.hear(EHR)
    assert await place.links.unapplied(10) == ["community^1001"]
    assert await place.link.resume() == 1
    assert set((await place.who()).values()) == {("R-1", "ehr")}
    assert await place.links.unapplied(10) == []


async def test_studies_of_an_earlier_version_get_what_searches_and_links_need(place: Place) -> None:
    await place.add("1.1")
    await place.database.studies.update_one(
        {}, {"$unset": {"patient_key": "", "place": "", "tokens": "", "linked_by": ""}}
    )
    assert await fill_listings(place.database) == 1
    assert await fill_listings(place.database) == 0
    await place.link(EHR)
    assert await place.who() == {"1.1": ("R-1", "ehr")}


async def test_searches_have_their_indexes(place: Place) -> None:
    names = {tuple(index["key"]) for index in await (await place.database.studies.list_indexes()).to_list()}
    assert {tuple(name.removeprefix("-") for name in fields) for fields in STUDY_INDEXES} <= names


async def test_patients_of_two_hospitals_become_one_resident_by_the_ehr_and_an_operator(
    region: Region, tmp_path: Path
) -> None:
    mark = uuid4().hex[:8]
    resident = f"R-{mark}"
    for number, hospital in enumerate(("community", "secondary")):
        person = ct.Person(f"{hospital}-{mark}", f"Ouyang^{mark}=欧阳^娜", "19680312", "F")
        series = ct.write_series(tmp_path / hospital, slices=1, seed=int(mark, 16) % 10**8 + number, person=person)
        edge = region.state["edges"][hospital]
        words = ["dcmsend", "-aec", edge["ae_title"], "127.0.0.1", str(edge["dimse_port"]), *map(str, series.files)]
        await asyncio.to_thread(subprocess.run, words, check=True, timeout=60, capture_output=True)
    linked = PatientLinked(hospital="secondary", patient_id=f"secondary-{mark}", resident_id=resident, revision=1)
    await say_as_ehr(region, "patient-linked", linked, f"secondary-{mark}")

    doctor, expert, operator = [
        await portal_client(region.state, user) for user in ("doctor.community", "expert.secondary", "operator.region")
    ]

    async def studies(client: httpx.AsyncClient, resident_id: str) -> list[Any]:
        query = {"PatientID": resident_id, "IssuerOfPatientID": "EHR"}
        answer = await client.get("/dicomweb/studies", params=query)
        return answer.json() if answer.status_code == 200 else []

    (found,) = await until(lambda: studies(expert, resident), "the secondary hospital's study")
    assert found["00101002"]["Value"][0]["00100020"]["Value"] == [resident]
    assert await studies(doctor, resident) == []
    row = f'data-patient="community^community-{mark}"'

    async def reviewed() -> str:
        page = (await operator.get("/portal/residents")).text
        own = page.partition(row)[2].partition("unlinked-row")[0]
        return page if f'data-resident="{resident}"' in own else ""

    page = await until(reviewed, "the community hospital's patient with a likely match")
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)
    assert csrf is not None
    form = {"csrf": csrf[1], "hospital": "community", "patient_id": f"community-{mark}", "resident_id": resident}
    assert (await operator.post("/portal/residents/link", data=form)).status_code == 200
    await until(lambda: studies(doctor, resident), "the community hospital's study")
    merged = ResidentMerged(resident_id=resident, into=f"M-{mark}", revision=1)
    await say_as_ehr(region, "resident-merged", merged, resident)
    for client in (doctor, expert):
        found = await until(lambda client=client: studies(client, f"M-{mark}"), "the merged resident's study")
        assert len(found) == 1
    for client in (doctor, expert, operator):
        await client.aclose()
