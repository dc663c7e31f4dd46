"""Who a patient is: precedence, any order of statements, earlier and later studies, a killed process."""

import itertools
from typing import Any

import pytest

from imaging_common.access import Subject
from imaging_common.events import PatientLinked, PatientUnlinked, ResidentMerged
from imaging_common.index.residents import resident_of
from imaging_common.objects.model import manifest_key
from indexer.adapters.fake_index import FakeIndex
from indexer.adapters.fake_links import FakeLinks
from indexer.usecases.index_manifest import IndexManifest
from indexer.usecases.link_patient import LinkPatient, MergeResidents

EHR_1 = PatientLinked(hospital="community", patient_id="P-1", resident_id="R-1", revision=1)
EHR_2 = PatientLinked(hospital="community", patient_id="P-1", resident_id="R-2", revision=2)
EHR_OFF = PatientUnlinked(hospital="community", patient_id="P-1", revision=3)
OPERATOR = PatientLinked(hospital="community", patient_id="P-1", resident_id="R-9", revision=1, source="operator")
OPERATOR_OFF = PatientUnlinked(hospital="community", patient_id="P-1", revision=2, source="operator")
STUDY = "community/1.2.3"


class Bench:
    """An index with what links patients in it."""

    def __init__(self) -> None:
        self.index = FakeIndex()
        self.links = FakeLinks(self.index)
        self.link = LinkPatient(self.index, self.links)
        self.manifests = IndexManifest(self.index, 60)

    async def add(self, make: Any) -> None:
        batch = make.batch([make.instance(1)])
        await self.manifests(batch, manifest_key(batch.data_key))

    @property
    def study(self) -> dict[str, Any]:
        return self.index.collections["studies"][STUDY]

    @property
    def who(self) -> tuple[Any, str]:
        return self.study["resident_id"], self.study["linked_by"]


@pytest.mark.parametrize(
    ("events", "end"),
    [
        ([EHR_1, EHR_2], ("R-2", "ehr")),
        ([EHR_2, OPERATOR], ("R-2", "ehr")),
        ([EHR_1, EHR_2, EHR_OFF], (None, "")),
        ([EHR_1, EHR_OFF, OPERATOR], ("R-9", "operator")),
        ([EHR_2, OPERATOR, OPERATOR_OFF], ("R-2", "ehr")),
        ([OPERATOR, OPERATOR_OFF], (None, "")),
    ],
)
async def test_link_ends_the_same_when_statements_and_study_come_in_any_order_and_twice(
    make: Any, events: list[Any], end: tuple[Any, str]
) -> None:
    for order in itertools.permutations([*events, "study"]):
        bench = Bench()
        for event in (*order, *order):
            if event == "study":
                await bench.add(make)
            else:
                await bench.link(event)
        assert bench.who == end, order
        assert await bench.links.unapplied(10) == []


async def test_earlier_study_is_told_anew_when_its_patient_is_linked(make: Any) -> None:
    bench = Bench()
    await bench.add(make)
    before = bench.study["version"]["n"]
    await bench.link(EHR_1)
    assert bench.study["version"]["n"] == before + 1
    topic, event, _ = bench.index.events[-1]
    assert (topic, event.resident_id, event.version.n) == ("study-changed", "R-1", before + 1)
    told = len(bench.index.events)
    await bench.link(EHR_1)
    assert len(bench.index.events) == told


async def test_link_is_applied_by_the_next_round_when_the_process_was_killed_in_between(make: Any) -> None:
    bench = Bench()
    await bench.add(make)
    await bench.links.hear(EHR_1)
    assert bench.who == (None, "")
    assert await bench.link.resume() == 1
    assert bench.who == ("R-1", "ehr")
    assert await bench.link.resume() == 0


async def test_other_hospitals_patient_of_the_same_id_stays_who_they_are(make: Any) -> None:
    bench = Bench()
    batch = make.batch([make.instance(1)], hospital="secondary")
    await bench.manifests(batch, manifest_key(batch.data_key))
    await bench.link(EHR_1)
    assert bench.index.collections["studies"]["secondary/1.2.3"]["resident_id"] is None


async def test_issuer_decides_whose_patient_it_is_when_it_names_a_hospital(make: Any) -> None:
    for registered, who in ((True, "R-1"), (False, None)):
        bench = Bench()
        if registered:
            bench.index.collections["hospitals"]["community"] = {"_id": "community"}
        instance = make.instance(1)
        instance.header["00100021"] = {"vr": "LO", "Value": ["community"]}
        batch = make.batch([instance], hospital="secondary")
        await bench.link(EHR_1)
        await bench.manifests(batch, manifest_key(batch.data_key))
        assert bench.index.collections["studies"]["secondary/1.2.3"]["resident_id"] == who


async def test_merge_is_followed_by_readers_when_it_comes_in_any_order(make: Any) -> None:
    merges = [
        ResidentMerged(resident_id="R-1", into="R-2", revision=1),
        ResidentMerged(resident_id="R-2", into="R-3", revision=2),
        ResidentMerged(resident_id="R-2", into="R-8", revision=1),
        ResidentMerged(resident_id="R-4", into="R-3", revision=1),
    ]
    for order in itertools.permutations(merges):
        bench = Bench()
        await bench.add(make)
        await bench.link(EHR_1)
        for event in order:
            await MergeResidents(bench.links)(event)
        index = bench.index.reader().index()
        for asked in ("R-1", "R-2", "R-3", "R-4"):
            assert await index.resident(asked) == ("R-3", ("R-1", "R-2", "R-3", "R-4"))
        assert await index.resident("R-7") == ("R-7", ("R-7",))
        found = await index.search_studies(
            Subject("d", "community", frozenset({"doctor"})),
            {"resident_id": {"$in": list((await index.resident("R-4")).ids)}},
        )
        assert [row.first["_id"] for row in found.rows] == [STUDY]


def test_circle_of_merges_is_cut_at_the_oldest_statement_whoever_is_asked_for() -> None:
    merges = [
        {"_id": "A", "into": "B", "revision": 3},
        {"_id": "B", "into": "C", "revision": 1},
        {"_id": "C", "into": "A", "revision": 2},
        {"_id": "D", "into": "A", "revision": 1},
    ]
    for asked in "ABCD":
        assert resident_of(asked, merges) == ("B", ("A", "B", "C", "D"))
    assert resident_of("A", [{"_id": "A", "into": "A", "revision": 2}]) == ("A", ("A",))
