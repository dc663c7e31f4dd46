"""Batches, packs and announcements in every order and number lead to the same index."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from imaging_common.access import Subject
from imaging_common.events import InstancesLocated, StudyChanged
from imaging_common.objects.model import Manifest, manifest_key
from imaging_common.testing.metrics import Counted
from indexer.adapters.fake_index import FakeIndex
from indexer.errors import ForeignManifest
from indexer.usecases.announce_study import AnnounceStudy
from indexer.usecases.index_manifest import IndexManifest
from indexer.usecases.settle_quiet_studies import SettleQuietStudies

NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEY = "community/1.2.3"


def end_state(index: FakeIndex) -> dict[str, Any]:
    """The collections without what only counts or times the way there."""
    timed = ("version", "updated_at")
    return {
        name: {key: {f: v for f, v in document.items() if f not in timed} for key, document in documents.items()}
        for name, documents in index.collections.items()
        if documents
    }


async def put(index: FakeIndex, manifest: Manifest) -> None:
    await IndexManifest(index, 60, lambda: NOW)(manifest, manifest_key(manifest.data_key))


async def test_study_is_viewable_and_told_when_a_batch_is_received(make: Any) -> None:
    index = FakeIndex()
    await put(index, make.batch([make.instance(1), make.instance(2), make.instance(1, series=2)]))
    study = index.collections["studies"][KEY]
    assert (study["instance_count"], study["series_count"], study["modalities"]) == (3, 2, ["CT", "SR"])
    assert study["patient"]["name"]["search"][0] == "wang a"
    (event,) = [event for _, event, _ in index.events if isinstance(event, StudyChanged)]
    assert (event.version.n, event.announced, event.settled, event.stored) == (1, False, False, False)
    assert index.collections["series"][f"{KEY}/1.2.3.1"]["instance_count"] == 2


async def test_index_ends_the_same_when_events_come_in_any_order_and_twice(make: Any) -> None:
    one, two, three = make.instance(1), make.instance(2), make.instance(3)
    first_pack = make.pack([one, two])
    pieces: list[Callable[[FakeIndex], Awaitable[None]]] = [
        lambda index: put(index, make.batch([two, three])),
        lambda index: put(index, make.batch([one])),
        lambda index: put(index, first_pack),
        lambda index: put(index, make.pack([one, two, three], replaces=[first_pack])),
        lambda index: AnnounceStudy(index, lambda: NOW)("community", make.announcement([one, two, three], 2)),
        lambda index: AnnounceStudy(index, lambda: NOW)("community", make.announcement([one, two], 1)),
    ]
    states = []
    for order in permutations(pieces):
        index = FakeIndex()
        for piece in (*order, *order[:3]):
            await piece(index)
        state = end_state(index)
        state.pop("manifests")
        states.append(state)
    assert all(state == states[0] for state in states)
    study = states[0]["studies"][KEY]
    assert (study["settled"], study["stored"], study["announced_count"], study["stored_count"]) == (True, True, 3, 3)
    keys = {document["location"]["key"] for document in states[0]["instances"].values()}
    assert keys == {make.pack([one, two, three]).data_key}


async def test_nothing_is_told_when_the_same_batch_comes_again(make: Any) -> None:
    index = FakeIndex()
    await put(index, make.batch([make.instance(1)]))
    index.collections["manifests"].clear()
    await put(index, make.batch([make.instance(1)]))
    assert len(index.events) == 1


async def test_location_is_told_again_when_the_archive_asks_again(make: Any) -> None:
    index, pack = FakeIndex(), make.pack([make.instance(1)])
    await put(index, pack)
    before = [event for _, event, _ in index.events]
    await put(index, pack)
    again = [event for _, event, _ in index.events][len(before) :]
    assert [event for event in before if isinstance(event, InstancesLocated)] == again


async def test_newest_header_is_served_and_the_old_one_kept_when_only_the_header_differs(make: Any) -> None:
    index = FakeIndex()
    await put(index, make.batch([make.instance(1, "a")]))
    await put(index, make.batch([make.instance(1, "b")]))
    served = index.collections["instances"][f"{KEY}/1.2.3.1.1"]
    assert served["sha256"] == make.instance(1, "b").sha256
    assert list(index.collections["instance_versions"]) == [f"{KEY}/1.2.3.1.1/{make.instance(1, 'a').sha256}"]
    assert index.collections["studies"][KEY]["version"]["n"] == 2
    assert index.collections["studies"][KEY]["patient"]["name"]["alphabetic"] == "Wang^b"
    await put(index, make.pack([make.instance(1, "a"), make.instance(1, "b")]))
    (old,) = index.collections["instance_versions"].values()
    assert old["location"]["bucket"] == "archive"
    assert index.collections["instances"][f"{KEY}/1.2.3.1.1"]["location"]["bucket"] == "archive"


async def test_first_pixels_stay_served_when_others_come_under_the_same_uid(make: Any) -> None:
    index, told = FakeIndex(), Counted("imaging_index_conflicts_total", hospital="community")
    await put(index, make.batch([make.instance(1, pixels="p")]))
    await put(index, make.batch([make.instance(1, pixels="q")]))
    assert told.grown == 1
    assert index.collections["instances"][f"{KEY}/1.2.3.1.1"]["sha256"] == make.instance(1, pixels="p").sha256
    assert index.collections["studies"][KEY]["conflicts"] == 1
    assert len(index.collections["conflicts"]) == 1
    await put(index, make.pack([make.instance(1, pixels="p"), make.instance(1, pixels="q")]))
    (conflict,) = index.collections["conflicts"].values()
    assert conflict["location"]["bucket"] == "archive"
    located = [event for _, event, _ in index.events if isinstance(event, InstancesLocated)]
    assert len(located[0].instances) == 2


async def test_study_settles_and_tells_what_was_refused_when_one_instance_is_rejected(make: Any) -> None:
    index, one, two = FakeIndex(), make.instance(1), make.instance(2)
    announce = AnnounceStudy(index, lambda: NOW)
    await put(index, make.batch([one]))
    await announce("community", make.announcement([one, two], 1))
    assert not index.collections["studies"][KEY]["settled"]
    await announce("community", make.announcement([one], 2, rejected=[two]))
    last = [event for _, event, _ in index.events if isinstance(event, StudyChanged)][-1]
    assert (last.settled, last.rejected_count) == (True, 1)


async def test_study_is_open_again_when_a_late_image_comes(make: Any) -> None:
    index, announce = FakeIndex(), None
    announce = AnnounceStudy(index, lambda: NOW)
    await put(index, make.batch([make.instance(1)]))
    await announce("community", make.announcement([make.instance(1)]))
    assert index.collections["studies"][KEY]["settled"]
    await put(index, make.batch([make.instance(2)]))
    assert not index.collections["studies"][KEY]["settled"]
    await announce("community", make.announcement([make.instance(1), make.instance(2)], 2))
    assert index.collections["studies"][KEY]["settled"]


async def test_quiet_timer_settles_when_the_sender_has_no_edge(make: Any) -> None:
    index = FakeIndex()
    await put(index, make.batch([make.instance(1)], has_edge=False))
    assert await SettleQuietStudies(index, lambda: NOW + timedelta(seconds=59))() == 0
    assert await SettleQuietStudies(index, lambda: NOW + timedelta(seconds=61))() == 1
    study = index.collections["studies"][KEY]
    assert (study["settled"], study["settled_basis"], study["announced"]) == (True, "quiet", False)
    await put(index, make.batch([make.instance(2)], has_edge=False))
    assert not index.collections["studies"][KEY]["settled"]


async def test_spoofed_announcement_opens_and_lists_nothing_when_nothing_arrived(make: Any) -> None:
    index = FakeIndex()
    await put(index, make.batch([make.instance(1)]))
    await AnnounceStudy(index, lambda: NOW)("secondary", make.announcement([make.instance(1)]))
    reader = index.reader().index()
    assert [study.holder for study in await reader.holders_of("1.2.3")] == ["community"]
    page = await reader.search_studies(Subject("expert", "secondary", frozenset({"expert"})))
    assert page.rows == []
    assert not index.collections["studies"]["secondary/1.2.3"]["settled"]
    assert index.collections["studies"][KEY]["announced"] is False


async def test_manifest_is_refused_when_it_lies_under_a_foreign_key(make: Any) -> None:
    manifest = make.batch([make.instance(1)])
    with pytest.raises(ForeignManifest):
        await IndexManifest(FakeIndex(), 60)(
            manifest, manifest_key(manifest.data_key).replace("community", "secondary")
        )
