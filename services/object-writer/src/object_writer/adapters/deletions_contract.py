"""What every `Deletions` must do; the same checks run on the fake and on MongoDB."""

from datetime import UTC, datetime, timedelta

from imaging_common.events import HospitalRegistered, InstancesEvicted, StudyDeletionRequested, StudyHeld, StudyRestored
from object_writer.adapters.ledger_contract import Events, Study
from object_writer.ports import Deletions, Ledger

HOUR = timedelta(hours=1)


async def check_deletions(deletions: Deletions, ledger: Ledger, events: Events) -> None:
    """One study is deleted, kept by everything that can keep it, purged, and comes again; both share a database."""
    study, other = Study("central", "1.2.7"), Study("central", "1.2.77")
    first, pack = await _store(ledger, study, 1, 2)
    _, other_pack = await _store(ledger, other, 1)
    await ledger.note_batch(*study.batch(3))
    study_id = f"{study.hospital}/{study.study_uid}"
    await _check_orders(deletions, ledger, study, study_id)
    late, late_key = study.batch(9)
    await ledger.note_batch(late, late_key)
    assert [record.closed for record in await ledger.packs_of(study.series)] == [True]
    due = await ledger.take_series(datetime.now(UTC) + HOUR, 1)
    assert due is not None
    assert not await deletions.purge(study_id)
    await ledger.release_series(study.series, failed=False)
    for _ in range(2):
        assert await deletions.purge(study_id)
    await _check_purged(deletions, ledger, events, study, {first, study.batch(3)[1]}, pack)
    assert await deletions.due(10) == [study_id]
    await deletions.finish(study_id)
    assert await deletions.due(10) == []
    assert {name[0] for name in (await ledger.pending(study.series)).names} == {late.instances[0].sop_instance_uid}
    assert (await ledger.pending(study.series)).batches == [late_key]
    assert [record.manifest_key for record in await ledger.packs_of(other.series)] == [other_pack]
    await _check_return(deletions, ledger, study, first, pack)


async def _store(ledger: Ledger, study: Study, *numbers: int) -> tuple[str, str]:
    """A staged batch and its pack."""
    batch, batch_key = study.batch(*numbers)
    pack, pack_key = study.pack(*numbers)
    await ledger.note_batch(batch, batch_key)
    await ledger.adopt_pack(pack, pack_key)
    return batch_key, pack_key


async def _check_orders(deletions: Deletions, ledger: Ledger, study: Study, study_id: str) -> None:
    """The highest revision counts; a hold of the study or the hospital stops a purge without undoing the deletion."""
    await deletions.order_deletion(_deletion(study, 2, -HOUR))
    assert await deletions.due(10) == [study_id]
    await deletions.order_restoration(_restoration(study, 1))
    assert await deletions.due(10) == [study_id]
    await deletions.order_restoration(_restoration(study, 3))
    await deletions.order_deletion(_deletion(study, 2, -HOUR))
    assert await deletions.due(10) == []
    assert not await deletions.purge(study_id)
    await deletions.order_deletion(_deletion(study, 5, HOUR))
    assert await deletions.due(10) == []
    await deletions.order_deletion(_deletion(study, 6, -HOUR))
    for held, revision in ((True, 4), (False, 3)):
        event = StudyHeld(study_uid=study.study_uid, holder=study.hospital, revision=revision, held=held, user="u")
        await deletions.order_hold(event)
    assert await deletions.due(10) == []
    assert not await deletions.purge(study_id)
    lifted = StudyHeld(study_uid=study.study_uid, holder=study.hospital, revision=7, held=False, user="u")
    await deletions.order_hold(lifted)
    policy = HospitalRegistered(
        hospital=study.hospital, revision=1, name_zh="", name_en="", level="community", tier="central", legal_hold=True
    )
    await ledger.keep_policy(policy)
    assert await deletions.due(10) == []
    assert not await deletions.purge(study_id)
    await ledger.keep_policy(policy.model_copy(update={"revision": 2, "legal_hold": False}))
    assert await deletions.due(10) == [study_id]


async def _check_purged(
    deletions: Deletions, ledger: Ledger, events: Events, study: Study, batches: set[str], pack: str
) -> None:
    told = [event for event in await events() if isinstance(event, InstancesEvicted)]
    assert {event.study_uid for event in told} == {study.study_uid}
    assert {event.bucket: set(event.manifest_keys) for event in told} == {"archive": {pack}, "staging": batches}
    assert len(told) == 2
    found = await deletions.purged(10)
    assert {(one.bucket, one.manifest_key) for one in found} == {
        ("archive", pack),
        *(("staging", key) for key in batches),
    }
    assert await ledger.packs_of(study.series) == []
    assert await ledger.removable_packs(datetime.now(UTC) + HOUR) == []
    assert pack in await ledger.known_packs([pack])


async def _check_return(deletions: Deletions, ledger: Ledger, study: Study, batch: str, pack: str) -> None:
    """What was purged and is sent again is stored as ever: under its old key, as a new object."""
    by_key = {one.manifest_key: one for one in await deletions.purged(10)}
    await deletions.spare(by_key[batch])
    await ledger.note_batch(*study.batch(1, 2))
    assert batch in await ledger.known_batches([batch])
    assert batch not in {one.manifest_key for one in await deletions.purged(10)}
    await ledger.forget(pack)
    await ledger.adopt_pack(*study.pack(1, 2))
    assert [record.manifest_key for record in await ledger.packs_of(study.series)] == [pack]
    for one in await deletions.purged(10):
        await ledger.forget(one.manifest_key)
    assert await deletions.purged(10) == []
    assert [record.manifest_key for record in await ledger.packs_of(study.series)] == [pack]


def _deletion(study: Study, revision: int, after: timedelta) -> StudyDeletionRequested:
    return StudyDeletionRequested(
        study_uid=study.study_uid,
        holder=study.hospital,
        revision=revision,
        reason="113039",
        user="u",
        purge_after=datetime.now(UTC) + after,
    )


def _restoration(study: Study, revision: int) -> StudyRestored:
    return StudyRestored(study_uid=study.study_uid, holder=study.hospital, revision=revision, user="u")
