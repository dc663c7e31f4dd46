"""Studies that lie in a hospital's own PACS: catalogue, cached copies, eviction, correction, withdrawal, migration."""

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from imaging_common.events import InstancesEvicted, StudyAvailable, StudyChanged, StudyWithdrawn
from imaging_common.objects.catalogue import Catalogue, catalogue_key, encode
from imaging_common.objects.manifest import write_manifest
from imaging_common.objects.model import Manifest, manifest_key
from imaging_common.objects.store import FakeObjectStore
from indexer.adapters.fake_index import FakeIndex
from indexer.adapters.index_contract import check_index
from indexer.errors import CatalogueMissing, ForeignManifest
from indexer.usecases.evict_instances import EvictInstances
from indexer.usecases.index_catalogue import IndexCatalogue
from indexer.usecases.index_manifest import IndexManifest
from indexer.usecases.sweep_objects import IndexObject, SweepObjects
from indexer.usecases.withdraw_study import WithdrawStudy

NOW = datetime(2026, 11, 24, tzinfo=UTC)
STUDY = "1.2.3"
KEY = f"tertiary/{STUDY}"


class Region:
    """The indexer's use cases over fakes, spoken to as events do."""

    def __init__(self) -> None:
        self.index, self.store = FakeIndex(), FakeObjectStore()
        self.index.collections["hospitals"]["tertiary"] = {"_id": "tertiary", "tier": "distributed", "revision": 1}
        self.index_catalogue = IndexCatalogue(self.index, self.store, lambda: NOW)
        self.index_object = IndexObject(self.index, self.store, IndexManifest(self.index, 60, lambda: NOW))

    async def announce(self, catalogue: Catalogue, *, keep: bool = True) -> None:
        data = encode(catalogue)
        key = catalogue_key(catalogue.hospital, STUDY, data)
        if keep:
            await self.store.put("cache", key, data)
        event = StudyAvailable(
            study_uid=STUDY, announcement=catalogue.announcement, basis="pacs", instances=[], announced_at=NOW,
            catalogue_key=key,
        )  # fmt: skip
        await self.index_catalogue(catalogue.hospital, STUDY, key, event)

    async def put(self, manifest: Manifest) -> None:
        await write_manifest(self.store, manifest.lies_in, manifest)
        await self.index_object(manifest.lies_in, manifest_key(manifest.data_key))

    async def evict(self, manifest: Manifest) -> None:
        event = InstancesEvicted(
            hospital=manifest.hospital, study_uid=STUDY, bucket=manifest.lies_in,
            manifest_keys=[manifest_key(manifest.data_key)],
        )  # fmt: skip
        await EvictInstances(self.index, lambda: NOW)(event, NOW)

    async def withdraw(self, number: int) -> None:
        event = StudyWithdrawn(study_uid=STUDY, announcement=number, reason="gone")
        await WithdrawStudy(self.index, lambda: NOW)("tertiary", event)

    @property
    def study(self) -> dict[str, Any]:
        return self.index.collections["studies"][KEY]

    def instance(self, number: int, series: int = 1) -> dict[str, Any]:
        return self.index.collections["instances"][f"{KEY}/{STUDY}.{series}.{number}"]

    def told(self) -> list[StudyChanged]:
        return [event for _, event, _ in self.index.events if isinstance(event, StudyChanged)]


async def test_study_is_listed_whole_when_only_its_catalogue_came(make: Any) -> None:
    region = Region()
    await region.announce(make.catalogue([make.instance(1), make.instance(2), make.instance(1, series=2)]))
    study = region.study
    assert (study["tier"], study["settled"], study["settled_basis"]) == ("distributed", True, "pacs")
    assert (study["instance_count"], study["announced_count"], study["series_count"]) == (3, 3, 2)
    assert (study["online_count"], study["header_count"], study["stored"]) == (0, 3, False)
    assert study["patient"]["name"]["ideographic"] == "王^小东"
    assert study["announced_at"] == NOW
    assert (region.instance(1)["location"], region.instance(1)["sha256"]) == (None, None)
    (event,) = region.told()
    assert (event.tier, event.online_count, event.instance_count) == ("distributed", 0, 3)
    reader = region.index.reader().index()
    assert [found.holder for found in await reader.holders_of(STUDY)] == ["tertiary"]


async def test_catalogue_counts_once_when_it_is_repeated_or_older(make: Any) -> None:
    region = Region()
    await region.announce(make.catalogue([make.instance(1), make.instance(2)], 2))
    await region.announce(make.catalogue([make.instance(1), make.instance(2)], 2))
    await region.announce(make.catalogue([make.instance(1)], 1))
    assert (region.study["instance_count"], len(region.told())) == (2, 1)


async def test_announcement_comes_again_when_its_catalogue_is_missing(make: Any) -> None:
    region = Region()
    with pytest.raises(CatalogueMissing):
        await region.announce(make.catalogue([make.instance(1)]), keep=False)
    assert not region.index.collections["studies"]


async def test_catalogue_is_refused_when_it_is_another_hospitals(make: Any) -> None:
    region = Region()
    data = encode(make.catalogue([make.instance(1)], hospital="community"))
    key = catalogue_key("tertiary", STUDY, data)
    await region.store.put("cache", key, data)
    with pytest.raises(ForeignManifest):
        await region.index_catalogue("tertiary", STUDY, key)


async def test_copy_is_no_correction_when_the_pacs_gives_other_file_bytes_each_time(make: Any) -> None:
    region, one = Region(), make.instance(1)
    await region.announce(make.catalogue([one, make.instance(2)]))
    await region.put(make.cached([make.copy(one, "first")]))
    assert region.instance(1)["location"]["bucket"] == "cache"
    assert (region.study["online_count"], region.study["corrections"]) == (1, 0)
    again = make.copy(one, "second")
    await region.put(make.cached([again], "r2"))
    assert region.instance(1)["sha256"] == again.sha256
    assert (region.study["corrections"], region.study["conflicts"], region.told()[-1].online_count) == (0, 0, 1)


async def test_index_ends_the_same_when_catalogue_and_copies_come_in_any_order(make: Any) -> None:
    one, two = make.instance(1), make.instance(2)
    states = []
    for order in permutations(range(3)):
        region = Region()
        for step in order:
            if step == 0:
                await region.announce(make.catalogue([one, two]))
            else:
                await region.put(make.cached([[one, two][step - 1]], f"r{step}"))
        rows = region.index.collections["instances"].values()
        counts = {name: region.study[name] for name in ("online_count", "header_count", "corrections", "settled")}
        states.append((counts, sorted((row["_id"], row["sha256"], row["location"]["key"]) for row in rows)))
    assert all(state == states[0] for state in states)
    assert states[0][0] == {"online_count": 2, "header_count": 2, "corrections": 0, "settled": True}


async def test_header_becomes_whole_without_correction_when_the_first_copy_comes(make: Any) -> None:
    region, one = Region(), make.instance(1)
    await region.announce(make.catalogue([one, make.instance(2)], full=False))
    assert (region.study["header_count"], region.instance(1)["header_full"]) == (0, False)
    await region.put(make.cached([one]))
    assert region.instance(1)["header_full"]
    assert (region.study["header_count"], region.study["corrections"]) == (1, 0)
    await region.announce(make.catalogue([one, make.instance(2)], 2, full=False))
    assert region.instance(1)["header_full"]
    assert region.study["corrections"] == 0


async def test_evicted_study_stays_listed_and_a_late_event_about_it_does_nothing(make: Any) -> None:
    region, batch = Region(), make.cached([make.instance(1)])
    await region.announce(make.catalogue([make.instance(1)]))
    await region.put(batch)
    await region.evict(batch)
    assert region.instance(1)["location"] is None
    assert (region.study["instance_count"], region.study["online_count"]) == (1, 0)
    await region.put(batch)
    assert region.instance(1)["location"] is None
    fresh = make.cached([make.instance(1)], "r2")
    await region.put(fresh)
    await region.evict(batch)
    assert region.instance(1)["location"]["key"] == fresh.data_key


async def test_eviction_leaves_the_centres_own_copies_alone(make: Any) -> None:
    region, one = Region(), make.instance(1)
    cached, staged = make.cached([one]), make.batch([one], hospital="tertiary")
    await region.put(cached)
    await region.put(staged)
    await region.evict(cached)
    assert region.instance(1)["location"]["key"] == staged.data_key
    with pytest.raises(ForeignManifest):
        await EvictInstances(region.index)(
            InstancesEvicted(
                hospital="tertiary", study_uid=STUDY, bucket="cache", manifest_keys=["secondary/1.2.3/a.json"]
            ),
            NOW,
        )


async def test_correction_in_the_pacs_is_served_counted_and_the_old_header_kept(make: Any) -> None:
    region = Region()
    await region.announce(make.catalogue([make.instance(1, "old")]))
    await region.put(make.cached([make.instance(1, "old")]))
    await region.announce(make.catalogue([make.instance(1, "new")], 2))
    assert region.study["patient"]["name"]["alphabetic"] == "Wang^new"
    assert b"Wang^new" in region.instance(1)["header"]
    assert region.instance(1)["location"] is None  # the cached file still has the old header
    (former,) = region.index.collections["instance_versions"].values()
    assert b"Wang^old" in former["header"]
    assert region.told()[-1].corrections == 1
    await region.put(make.cached([make.instance(1, "new")], "r2"))
    assert (region.study["corrections"], region.study["online_count"]) == (1, 1)


async def test_other_pixels_conflict_while_the_first_are_there_and_are_served_when_they_are_not(make: Any) -> None:
    region = Region()
    first, other = make.cached([make.instance(1, pixels="p")]), make.cached([make.instance(1, pixels="q")], "r2")
    await region.put(first)
    await region.put(other)
    assert region.instance(1)["location"]["key"] == first.data_key
    assert region.study["conflicts"] == 1
    await region.evict(first)
    third = make.cached([make.instance(1, pixels="q")], "r3")
    await region.put(third)
    assert region.instance(1)["location"]["key"] == third.data_key


async def test_instance_leaves_with_history_when_the_pacs_no_longer_has_it_and_comes_back(make: Any) -> None:
    region, one, two = Region(), make.instance(1), make.instance(2, series=2)
    batch = make.cached([one])
    await region.announce(make.catalogue([one, two]))
    await region.announce(make.catalogue([two], 2))
    assert (region.study["instance_count"], region.study["series_count"], region.study["corrections"]) == (1, 1, 1)
    assert list(region.index.collections["series"]) == [f"{KEY}/1.2.3.2"]
    (former,) = region.index.collections["instance_versions"].values()
    assert former["gone"]
    await region.put(batch)  # a copy that was on its way
    assert region.study["instance_count"] == 1
    await region.announce(make.catalogue([one, two], 3))
    assert region.study["instance_count"] == 2


async def test_withdrawn_study_is_back_when_it_is_announced_anew(make: Any) -> None:
    region = Region()
    await region.announce(make.catalogue([make.instance(1)], 1))
    await region.withdraw(2)
    assert region.study["withdrawn"]
    assert region.told()[-1].withdrawn
    await region.withdraw(2)
    await region.announce(make.catalogue([make.instance(1)], 1))
    assert region.study["withdrawn"]
    await region.announce(make.catalogue([make.instance(1)], 3))
    assert not region.study["withdrawn"]
    assert len(region.told()) == 3


async def test_study_moves_to_the_centre_without_a_broken_link(make: Any) -> None:
    region, one, two = Region(), make.instance(1), make.instance(2)
    await region.announce(make.catalogue([one, two]))
    await region.put(make.cached([one]))
    await region.put(make.batch([make.copy(one, "migrated")], hospital="tertiary"))
    assert (region.study["tier"], region.instance(1)["location"]["bucket"]) == ("distributed", "staging")
    await region.put(make.cached([one], "r2"))  # a cached copy never takes the place of the centre's own
    assert region.instance(1)["location"]["bucket"] == "staging"
    await region.put(make.batch([make.copy(two, "migrated")], hospital="tertiary"))
    assert (region.study["tier"], region.study["corrections"], region.study["_id"]) == ("central", 0, KEY)
    region.index.collections["hospitals"]["tertiary"]["tier"] = "central"
    await region.withdraw(2)  # the old PACS is switched off
    assert not region.study["withdrawn"]
    await region.announce(make.catalogue([one], 3))
    assert region.study["instance_count"] == 2


async def test_sweep_heals_a_lost_log(make: Any) -> None:
    region, one = Region(), make.instance(1)
    for catalogue in (make.catalogue([one], 1), make.catalogue([one, make.instance(2)], 2)):
        data = encode(catalogue)
        await region.store.put("cache", catalogue_key("tertiary", STUDY, data), data)
    await write_manifest(region.store, "cache", make.cached([one]))
    await region.store.put("archive", "tertiary/reports/key/report.json", b"{}")
    sweep = SweepObjects(region.index, region.store, region.index_object, region.index_catalogue)
    assert (await sweep("cache"), await sweep("archive")) == (3, 0)
    assert (region.study["announced_count"], region.study["online_count"]) == (2, 1)
    assert await sweep("cache") == 0


async def test_fake_index_keeps_the_contract() -> None:
    await check_index(FakeIndex(), "tertiary", "1.2.9")


async def test_correction_is_seen_when_the_pacs_tells_brief_headers_only(make: Any) -> None:
    region, one = Region(), make.instance(1)
    await region.announce(make.catalogue([one], full=False))
    await region.put(make.cached([one]))
    moved = one.model_copy(update={"header": {**one.header, "00200013": {"vr": "IS", "Value": [7]}}})
    await region.announce(make.catalogue([moved], 2, full=False))
    assert (region.study["corrections"], region.study["header_count"], region.instance(1)["location"]) == (1, 0, None)
    fresh = make.copy(moved, "fresh")
    await region.put(make.cached([fresh], "r2"))
    assert (region.study["corrections"], region.study["header_count"], region.study["online_count"]) == (1, 1, 1)


async def test_copy_is_readable_when_the_pacs_never_gives_the_header_it_tells(make: Any) -> None:
    region = Region()
    await region.announce(make.catalogue([make.instance(1, "told")]))
    for retrieval in ("r1", "r2", "r3"):
        batch = make.cached([make.copy(make.instance(1, "given"), retrieval)], retrieval)
        await region.put(batch)
        assert region.instance(1)["location"]["key"] == batch.data_key
    assert region.study["corrections"] == 1
