"""The central tier: rejection notes, deletion and its undoing, holds, and what is left after a purge."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from imaging_common.events import (
    InstancesEvicted,
    StudyChanged,
    StudyDeletionRequested,
    StudyHeld,
    StudyRestored,
)
from imaging_common.objects.manifest import write_manifest
from imaging_common.objects.model import Manifest, manifest_key
from imaging_common.objects.store import FakeObjectStore
from indexer.adapters.fake_index import FakeIndex
from indexer.usecases.announce_study import AnnounceStudy
from indexer.usecases.command_study import CommandStudy
from indexer.usecases.evict_instances import EvictInstances
from indexer.usecases.index_manifest import IndexManifest
from indexer.usecases.sweep_objects import IndexObject

NOW = datetime(2026, 11, 24, tzinfo=UTC)
STUDY = "1.2.3"
KEY = f"community/{STUDY}"


async def put(index: FakeIndex, manifest: Manifest) -> None:
    await IndexManifest(index, 60, lambda: NOW)(manifest, manifest_key(manifest.data_key))


def told(index: FakeIndex) -> StudyChanged:
    return [event for _, event, _ in index.events if isinstance(event, StudyChanged)][-1]


async def test_rejected_instances_leave_the_study_in_any_order_of_note_and_images(make: Any) -> None:
    one, two = make.instance(1), make.instance(2)
    note = make.note([one])
    pieces = [make.batch([one, two]), make.batch([note]), make.pack([one, two])]
    for order in permutations(pieces):
        index = FakeIndex()
        for piece in order:
            await put(index, piece)
        study = index.collections["studies"][KEY]
        assert (study["instance_count"], study["corrections"]) == (2, 1)  # the other image and the note
        (former,) = index.collections["instance_versions"].values()
        assert former["rejected_by"] == note.sop_instance_uid
        assert former["location"]["bucket"] == "archive"
        assert index.collections["series"][f"{KEY}/1.2.3.1"]["facts_from"] == two.sop_instance_uid
        await AnnounceStudy(index, lambda: NOW)("community", make.announcement([one, two, note]))
        assert index.collections["studies"][KEY]["settled"]


@pytest.mark.parametrize(("code", "listed"), [("113037", 1), ("113038", 1), ("113039", 1), ("113000", 2)])
async def test_only_rejection_notes_reject(make: Any, code: str, listed: int) -> None:
    index = FakeIndex()
    await put(index, make.batch([make.instance(1)]))
    await put(index, make.batch([make.note([make.instance(1)], code)]))
    assert index.collections["studies"][KEY]["instance_count"] == listed


async def test_deletion_is_told_and_undone_and_an_older_command_changes_nothing(make: Any) -> None:
    index = FakeIndex()
    await put(index, make.batch([make.instance(1)]))
    command = CommandStudy(index, lambda: NOW)
    deletion = StudyDeletionRequested(
        study_uid=STUDY, holder="community", revision=1, reason="113001", user="a", purge_after=NOW + timedelta(30)
    )
    await command(deletion)
    assert told(index).deleted
    assert index.collections["studies"][KEY]["purge_after"] == deletion.purge_after
    await command(StudyHeld(study_uid=STUDY, holder="community", revision=3, held=True, user="a"))
    await command(StudyRestored(study_uid=STUDY, holder="community", revision=2, user="a"))
    await command(deletion)
    study = index.collections["studies"][KEY]
    assert (study["deleted"], study["purge_after"], study["held"]) == (False, None, True)


async def test_no_header_and_no_name_is_left_when_a_study_is_purged(make: Any) -> None:
    index, batch, pack = FakeIndex(), make.batch([make.instance(1)]), make.pack([make.instance(1)])
    await put(index, batch)
    await put(index, make.batch([make.instance(1, "b")]))
    await put(index, pack)
    await put(index, make.pack([make.instance(1), make.instance(1, "b")]))
    packs = [pack, make.pack([make.instance(1), make.instance(1, "b")])]
    for bucket, manifests in (("archive", packs), ("staging", [batch])):
        keys = [manifest_key(manifest.data_key) for manifest in manifests]
        event = InstancesEvicted.model_validate(
            {"hospital": "community", "study_uid": STUDY, "bucket": bucket, "manifest_keys": keys}
        )
        await EvictInstances(index, lambda: NOW)(event, NOW)
    assert index.collections["instances"] == {}
    assert index.collections["series"] == {}
    rows = index.collections["instance_versions"].values()
    assert {row["sha256"] for row in rows} == {make.instance(1).sha256, make.instance(1, "b").sha256}
    assert all(row["purged"] and "header" not in row for row in rows)
    assert "Wang" not in str(index.collections["studies"])
    assert told(index).instance_count == 0
    await put(index, batch)
    assert index.collections["instances"] == {}


async def test_study_is_there_again_when_it_is_sent_after_its_purge(make: Any) -> None:
    index, store, batch = FakeIndex(), FakeObjectStore(), make.batch([make.instance(1)])
    key = manifest_key(batch.data_key)
    index_object = IndexObject(index, store, IndexManifest(index, 60, lambda: NOW))
    await write_manifest(store, "staging", batch)
    await index_object("staging", key)
    await CommandStudy(index, lambda: NOW)(
        StudyDeletionRequested(
            study_uid=STUDY, holder="community", revision=1, reason="113001", user="a", purge_after=NOW - timedelta(1)
        )
    )
    event = InstancesEvicted(hospital="community", study_uid=STUDY, bucket="staging", manifest_keys=[key])
    await EvictInstances(index, lambda: NOW)(event, datetime.now(UTC))
    await index_object("staging", key)  # late: the object was written before the purge
    assert told(index).instance_count == 0
    await write_manifest(store, "staging", batch)
    await index_object("staging", key)
    assert (told(index).instance_count, told(index).deleted) == (1, False)
