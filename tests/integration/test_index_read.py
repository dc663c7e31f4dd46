"""The index's readers: one contract, on the fake and on a real MongoDB. One row per study, whoever holds it."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from imaging_common import mongo
from imaging_common.access import Action, Grant, StudyRef, Subject, decide
from imaging_common.access.rule import GrantKind
from imaging_common.index.fake import FakeIndexReader, matches
from imaging_common.index.listing import STUDY_INDEXES, listing_of, place_of
from imaging_common.index.names import name_clause, parse_person_name
from imaging_common.index.patients import PatientIndex
from imaging_common.index.read import INSTANCES, SERIES, STUDIES, IndexReader, MongoIndexReader, Page, StudyIndex
from imaging_common.settings import ServiceSettings

DOCTOR = Subject("doctor.community", "community", frozenset({"doctor"}))
KINDS = pytest.mark.parametrize("kind", ["fake", "mongo"])


class Place:
    """An index to be filled, and its reader."""

    def __init__(self, database: Any, reader: IndexReader) -> None:
        self._database = database
        self._reader = reader
        self.index = StudyIndex(reader)
        self.patients = PatientIndex(reader)

    async def add(self, uid: str, holder: str = "community", name: str = "Wang^Wei=王^伟", **fields: Any) -> None:
        number = fields.pop("patient_id", f"P-{uid}")
        document = {
            "_id": f"{holder}/{uid}", "study_uid": uid, "holder": holder, "version": {"epoch": 1, "n": 1},
            "patient": {"id": number, "issuer": "", "name": parse_person_name(name).model_dump(),
                        "birth_date": "19700601", "sex": "M"},
            "patient_key": f"{holder}^{number}" if number else "", "resident_id": None, "linked_by": "",
            "study_date": "20261120", "study_time": "", "accession": "", "modalities": ["CT"], "instance_count": 10,
            "updated_at": datetime.now(UTC), **fields,
        }  # fmt: skip
        await self.put("studies", document | listing_of(document))

    async def put(self, collection: str, document: dict[str, Any]) -> None:
        if isinstance(self._reader, FakeIndexReader):
            self._reader.put(collection, document)
        else:
            await self._database[collection].replace_one({"_id": document["_id"]}, document, upsert=True)


@pytest.fixture
async def place(kind: str, servers: Any) -> AsyncIterator[Place]:
    if kind == "fake":
        yield Place(None, FakeIndexReader())
        return
    client = mongo.connect(ServiceSettings(mongo_url=servers.mongodb.url("root")))
    database = client[f"index-{uuid4().hex[:8]}"]
    for fields in STUDY_INDEXES:
        await database.studies.create_index([(n.removeprefix("-"), -1 if n.startswith("-") else 1) for n in fields])
    yield Place(database, MongoIndexReader(database))
    await client.drop_database(database)
    await client.close()


def keys(page: Page) -> list[list[str]]:
    return [[document["_id"] for document in row.documents] for row in page.rows]


@KINDS
async def test_study_is_one_row_with_every_holder_the_asker_may_see(place: Place) -> None:
    for holder, count in (("community", 10), ("secondary", 90), ("tertiary", 50), ("tcm", 70)):
        await place.add("1.1", holder, instance_count=count)
    await place.add("1.2", study_date="20261121")
    assert keys(await place.index.search_studies(DOCTOR)) == [["community/1.2"], ["community/1.1"]]
    grants = tuple(Grant(StudyRef("1.1", holder), "c") for holder in ("secondary", "tertiary"))
    asker = Subject("e", "community", frozenset({"expert"}), grants)
    row = ["community/1.1", "secondary/1.1", "tertiary/1.1"]
    assert keys(await place.index.search_studies(asker)) == [["community/1.2"], row]
    elsewhere = await place.index.search_studies(asker, {"$and": [{"holder": "tertiary"}]})
    assert keys(elsewhere) == [["tertiary/1.1"]]
    nobody = Subject("o", "community", frozenset({"region-operator"}))
    assert keys(await place.index.search_studies(nobody)) == []


@KINDS
async def test_holder_that_matches_comes_first_when_others_know_the_patient_otherwise(place: Place) -> None:
    await place.add("1.1", "community", patient_id="A")
    await place.add("1.1", "secondary", patient_id="B", instance_count=99, study_date="20260101")
    asker = Subject("e", "community", frozenset({"expert"}), (Grant(StudyRef("1.1", "secondary"), "c"),))
    for number, first in (("A", "community/1.1"), ("B", "secondary/1.1")):
        page = await place.index.search_studies(asker, {"patient.id": number})
        assert [row.first["_id"] for row in page.rows] == [first]
        assert len(page.rows[0].documents) == 2


@KINDS
async def test_unlisted_studies_are_in_no_answer(place: Place) -> None:
    await place.add("1.1", instance_count=0)
    await place.add("1.2", withdrawn=True)
    await place.add("1.3", deleted=True)
    await place.add("1.4")
    assert keys(await place.index.search_studies(DOCTOR)) == [["community/1.4"]]
    assert await place.index.keys(STUDIES, DOCTOR, {}) == ["community/1.4"]
    assert [len(await place.index.holders_of(uid)) for uid in ("1.1", "1.2", "1.3", "1.4")] == [0, 0, 0, 1]


@KINDS
async def test_pages_follow_one_another_and_the_rest_is_counted_to_a_bound(place: Place) -> None:
    for n in range(30):
        await place.add(f"1.{n}", study_time=f"10{n:02}")
        if n % 2:
            await place.add(f"1.{n}", "secondary", study_time=f"10{n:02}")
    grants = tuple(Grant(StudyRef(f"1.{n}", "secondary"), "c") for n in range(30))
    asker = Subject("e", "community", frozenset({"expert"}), grants)
    seen: list[str] = []
    for offset in range(0, 30, 7):
        page = await place.index.search_studies(asker, limit=7, offset=offset, lookahead=5)
        seen += [row.first["study_uid"] for row in page.rows]
        assert page.remaining == min(5, 30 - len(seen))
        assert page.more == (30 - len(seen) > 5)
    assert seen == [f"1.{n}" for n in reversed(range(30))]
    assert (await place.index.search_studies(asker, limit=7, offset=40)).rows == []


@KINDS
async def test_pages_are_what_one_would_pick_by_hand(place: Place) -> None:
    """Every way of reading a page (one hospital, several ways to a study, counting apart) against plain Python."""
    chance, held = random.Random(5), dict[str, dict[str, Any]]()
    for n in range(120):
        for holder in chance.sample(["community", "secondary", "tertiary"], chance.choice((1, 1, 2))):
            fields = {"study_date": f"202611{1 + n % 28:02}", "study_time": f"10{n % 60:02}", "accession": f"A-{n}"}
            fields |= {"resident_id": f"R-{n % 7}", "modalities": [chance.choice(("CT", "MR"))]}
            held[f"{holder}/1.{n}"] = {"holder": holder, "study_uid": f"1.{n}", **fields}
            await place.add(f"1.{n}", holder, **fields)
    cases = tuple(Grant(StudyRef(f"1.{n}", "secondary"), "c") for n in range(0, 120, 3))
    record = Grant(None, "l", kind=GrantKind.LAUNCH, residents=frozenset({"R-2", "R-5"}))
    for hospital, grants in (("community", ()), ("community", cases), ("", (record,)), ("tertiary", (*cases, record))):
        asker = Subject("d", hospital, frozenset({"expert"}), grants)
        seen = {
            key: one for key, one in held.items()
            if decide(asker, Action.SEARCH, StudyRef(one["study_uid"], one["holder"], one["resident_id"])).allowed
        }  # fmt: skip
        for where in ({}, {"modalities": "CT"}, {"$or": [{"modalities": "MR"}, {"accession": "A-9"}]}):
            hits = sorted((one for one in seen.values() if matches(one, where)), key=_place, reverse=True)
            uids = list(dict.fromkeys(one["study_uid"] for one in hits))
            for limit, offset, lookahead in ((7, 0, 1), (25, 10, 1), (10, 0, 300), (5, 40, 20)):
                page = await place.index.search_studies(asker, where, limit=limit, offset=offset, lookahead=lookahead)
                assert [row.first["study_uid"] for row in page.rows] == uids[offset : offset + limit]
                behind = max(0, len(uids) - offset - limit)
                assert (page.remaining, page.more) == (min(behind, lookahead), behind > lookahead)
                for row in page.rows:
                    keys_of_row = {document["_id"] for document in row.documents}
                    assert keys_of_row == {key for key in seen if key.endswith(f"/{row.first['study_uid']}")}
                    assert matches(row.first, where)


def _place(study: dict[str, Any]) -> int:
    return place_of(study["study_date"], study["study_time"], study["study_uid"])


@KINDS
async def test_record_that_was_opened_is_open_at_every_level(place: Place) -> None:
    await place.add("1.1", resident_id="R-1")
    await place.add("1.2", resident_id="R-2")
    for uid in ("1.1", "1.2"):
        ids = {"study_uid": uid, "holder": "community", "study_key": f"community/{uid}", "series_uid": f"{uid}.1"}
        series_key = f"community/{uid}/{uid}.1"
        await place.put("series", {"_id": series_key, "series_number": 1, **ids})
        await place.put("instances", {"_id": f"{series_key}.1", **ids, "series_key": series_key,
                                      "sop_instance_uid": f"{uid}.1.1", "instance_number": 1})  # fmt: skip
    record = Grant(None, "l", kind=GrantKind.LAUNCH, residents=frozenset({"R-1"}))
    asker = Subject("d", "tertiary", frozenset({"doctor"}), (record,))
    for level in (STUDIES, SERIES, INSTANCES):
        page = await place.index.search(level, asker, {}, limit=10, offset=0)
        assert [row.first["study_uid"] for row in page.rows] == ["1.1"]
    assert await place.index.study_keys(SERIES, asker, {}) == ["community/1.1"]


@KINDS
async def test_usual_searches_find(place: Place) -> None:
    await place.add("1.1", name="Wang^Xiaodong=王^小东", study_date="20260110", accession="A-1", patient_id="1001")
    await place.add("1.2", name="Wang^Wei=王^伟", study_date="20260210", modalities=["MR", "SR"], resident_id="R-1")
    await place.add("1.3", name="张^伟", study_date="20260310", resident_id="R-2")
    wanted = {
        "1.1": [
            name_clause("王小*", fuzzy=False), name_clause("王小东", fuzzy=False),
            name_clause("wangxiaodo*", fuzzy=False),
            name_clause("小东", fuzzy=True), {"accession": "A-1"}, {"patient.id": "1001"},
            {"study_date": {"$gte": "20260101", "$lte": "20260110"}}, {"study_date": {"$lte": "20260131"}},
        ],
        "1.2": [
            {"$and": [name_clause("王*", fuzzy=False), {"modalities": "SR"}]}, {"resident_id": {"$in": ["R-1", "R-9"]}},
            {"$and": [{"study_date": {"$gte": "20260102", "$lte": "20260301"}}, {"modalities": "MR"}]},
        ],
        "1.3": [
            {"study_uid": {"$in": ["1.3"]}},
            {"$and": [{"$or": [name_clause("zhang", fuzzy=True), {"accession": "z"}]}]},
        ],
        "1.2 1.1": [name_clause("wang", fuzzy=True), {"$or": [{"accession": "A-1"}, {"modalities": "MR"}]}],
    }  # fmt: skip
    for uids, clauses in wanted.items():
        for clause in clauses:
            page = await place.index.search_studies(DOCTOR, clause)
            assert [row.first["study_uid"] for row in page.rows] == uids.split(), clause


@KINDS
async def test_patients_that_are_nobodys_are_listed_once_each(place: Place) -> None:
    for n in range(5):
        await place.add(f"1.{n}", patient_id="A", study_time=f"10{n:02}")
    await place.add("2.1", "secondary", patient_id="B", study_time="1002")
    await place.add("3.1", "secondary", patient_id="C", resident_id="R-1", linked_by="ehr")
    await place.add("4.1", "secondary", patient_id="")
    found, more = await place.patients.unlinked(["community", "secondary"], limit=1, offset=0)
    assert ([(one.key, one.studies) for one in found], more) == ([("community^A", 5)], True)
    found, more = await place.patients.unlinked(["community", "secondary"], limit=1, offset=1)
    assert ([one.key for one in found], more) == (["secondary^B"], False)
    like = await place.patients.resembling(found[0], ["community", "secondary"])
    assert {study.patient_key for study in like} == {"community^A", "secondary^C"}


@KINDS
async def test_resident_is_everybody_merged_into_one(place: Place) -> None:
    await place.put("merges", {"_id": "R-1", "into": "R-2", "revision": 1})
    await place.put("merges", {"_id": "R-2", "into": "R-3", "revision": 1})
    for asked in ("R-1", "R-2", "R-3"):
        assert await place.index.resident(asked) == ("R-3", ("R-1", "R-2", "R-3"))
