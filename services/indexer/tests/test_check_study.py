"""An operator's check makes the index of a study agree with the object store, and subscribers take it for news."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from imaging_common.events import StudyChanged, StudyCheckRequested, Version
from imaging_common.objects.fake import FakeObjectStore
from imaging_common.objects.manifest import write_manifest
from imaging_common.objects.model import CACHE_BUCKET, Manifest, manifest_key
from imaging_common.objects.ports import ObjectInfo
from indexer.adapters.fake_index import FakeIndex
from indexer.usecases.announce_study import AnnounceStudy
from indexer.usecases.check_study import CheckStudy
from indexer.usecases.index_manifest import IndexManifest
from indexer.usecases.sweep_objects import IndexObject

NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEY = "community/1.2.3"


class Centre:
    """An index and a store that begin in agreement."""

    def __init__(self) -> None:
        self.index, self.store = FakeIndex(), FakeObjectStore()
        self.index_object = IndexObject(self.index, self.store, IndexManifest(self.index, 60, lambda: NOW))

    async def put(self, manifest: Manifest) -> Manifest:
        await self.store.put(manifest.lies_in, manifest.data_key, b"bytes")
        await write_manifest(self.store, manifest.lies_in, manifest)
        await self.index_object(manifest.lies_in, manifest_key(manifest.data_key))
        return manifest

    async def lose(self, manifest: Manifest) -> None:
        await self.store.delete(manifest.lies_in, manifest.data_key)
        await self.store.delete(manifest.lies_in, manifest_key(manifest.data_key))

    async def check(self, told: Version | None = None) -> None:
        event = StudyCheckRequested(study_uid="1.2.3", holder="community", told=told, user="operator")
        await CheckStudy(self.index, self.store, self.index_object, lambda: NOW)(event)

    @property
    def study(self) -> dict[str, Any]:
        return self.index.collections["studies"][KEY]

    def statements(self) -> list[StudyChanged]:
        return [event for _, event, _ in self.index.events if isinstance(event, StudyChanged)]


async def test_a_check_of_a_study_that_agrees_says_nothing(make: Any) -> None:
    centre = Centre()
    await centre.put(make.pack([make.instance(1), make.instance(2)]))
    before = len(centre.statements())
    await centre.check()
    assert len(centre.statements()) == before
    assert centre.study["stored"]


async def test_a_lost_instance_is_listed_again(make: Any) -> None:
    centre = Centre()
    await centre.put(make.pack([make.instance(1), make.instance(2)]))
    del centre.index.collections["instances"][f"{KEY}/1.2.3.1.2"]
    await centre.check()
    assert centre.study["instance_count"] == 2
    assert f"{KEY}/1.2.3.1.2" in centre.index.collections["instances"]


async def test_a_lost_study_comes_back_under_a_newer_version_than_anybody_was_told(make: Any) -> None:
    centre = Centre()
    one = make.instance(1)
    await centre.put(make.pack([one]))
    await AnnounceStudy(centre.index, lambda: NOW)("community", make.announcement([one]))
    del centre.index.collections["studies"][KEY]
    await centre.check(Version(epoch=1, n=7))
    assert centre.study["version"] == {"epoch": 1, "n": 8}
    assert (centre.study["instance_count"], centre.study["settled"], centre.study["patient"]["id"]) == (1, True, "P-1")


async def test_a_study_that_others_know_better_is_stated_anew(make: Any) -> None:
    centre = Centre()
    await centre.put(make.pack([make.instance(1)]))
    await centre.check(Version(epoch=3, n=4))
    assert centre.statements()[-1].version == Version(epoch=3, n=5)


async def test_a_lost_series_document_comes_back(make: Any) -> None:
    centre = Centre()
    await centre.put(make.pack([make.instance(1)]))
    centre.index.collections["series"].clear()
    await centre.check()
    assert centre.index.collections["series"][f"{KEY}/1.2.3.1"]["modality"] == "CT"


async def test_what_is_gone_is_no_longer_pointed_at_and_comes_back_when_it_is_sent_again(make: Any) -> None:
    centre = Centre()
    batch = make.batch([make.instance(1), make.instance(2)])
    await centre.put(batch)
    pack = await centre.put(make.pack([make.instance(1), make.instance(2)]))
    await centre.lose(batch)
    await centre.lose(pack)
    await centre.check()
    assert (centre.study["online_count"], centre.study["stored"], centre.study["instance_count"]) == (0, False, 2)
    await centre.put(batch)
    assert (centre.study["online_count"], centre.study["stored"]) == (2, False)


async def test_another_copy_takes_the_place_of_a_lost_pack(make: Any) -> None:
    centre = Centre()
    await centre.put(make.batch([make.instance(1)]))
    await centre.lose(await centre.put(make.pack([make.instance(1)])))
    await centre.check()
    assert centre.index.collections["instances"][f"{KEY}/1.2.3.1.1"]["location"]["bucket"] == "staging"


async def test_data_without_a_manifest_is_not_there(make: Any) -> None:
    centre = Centre()
    pack = await centre.put(make.pack([make.instance(1)]))
    await centre.store.delete("archive", manifest_key(pack.data_key))
    await centre.check()
    assert centre.study["online_count"] == 0


async def test_what_arrives_while_the_store_is_looked_through_is_not_taken_for_lost(make: Any) -> None:
    centre = Centre()
    await centre.put(make.pack([make.instance(1)]))

    class Busy(FakeObjectStore):
        arrives: Callable[[], Awaitable[Any]] | None = None

        async def list(self, bucket: str, prefix: str) -> AsyncIterator[ObjectInfo]:
            async for entry in super().list(bucket, prefix):
                yield entry
            if bucket == CACHE_BUCKET and self.arrives is not None:
                arrives, self.arrives = self.arrives, None
                await arrives()

    busy = Busy()
    busy.__dict__.update(centre.store.__dict__)
    centre.store = busy
    centre.index_object = IndexObject(centre.index, busy, IndexManifest(centre.index, 60, lambda: NOW))
    busy.arrives = lambda: centre.put(make.pack([make.instance(2)]))
    await centre.check()
    rows = centre.index.collections["instances"].values()
    assert [bool(row["location"]) for row in rows] == [True, True]
