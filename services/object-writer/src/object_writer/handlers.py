"""Events in: which event leads to which use case."""

from imaging_common.events import (
    Envelope,
    HospitalRegistered,
    InstancesLocated,
    InstancesReceived,
    StudyCheckRequested,
    StudyDeletionRequested,
    StudyHeld,
    StudyOpened,
    StudyPinned,
    StudyReleased,
    StudyRestored,
)
from imaging_common.messaging import EventRouter
from object_writer.errors import ForeignManifest
from object_writer.ports import CacheLedger, Deletions, Ledger
from object_writer.usecases.check_study import CheckStudy
from object_writer.usecases.note_batch import NoteBatch
from object_writer.usecases.note_cached import NoteCached


def build_router(
    note_batch: NoteBatch, note_cached: NoteCached, ledger: Ledger, cache: CacheLedger, deletions: Deletions
) -> EventRouter:
    """The whole map from events to use cases."""
    router = EventRouter()

    @router.on(InstancesReceived, "instances-received")
    async def note_batch_on_instances_received(event: InstancesReceived, envelope: Envelope) -> None:
        """On InstancesReceived: note the batch; a staged one is packed once its series are quiet; emits BatchStored."""
        if not event.manifest_key.startswith(f"{event.hospital}/{event.study_uid}/"):
            raise ForeignManifest("an event names a manifest of another hospital or study")
        await (note_cached if event.bucket == "cache" else note_batch)(event.manifest_key)

    @router.on(InstancesLocated, "instances-located")
    async def note_located_on_instances_located(event: InstancesLocated, envelope: Envelope) -> None:
        """On InstancesLocated: the staged copies may go after the grace; emits BatchStored."""
        await ledger.note_located(event)

    @router.on(HospitalRegistered, "hospital-registered")
    async def keep_policy_on_hospital_registered(event: HospitalRegistered, envelope: Envelope) -> None:
        """On HospitalRegistered: keep what the hospital wants done with its images."""
        await ledger.keep_policy(event)

    @router.on(StudyOpened, "study-used")
    async def note_use_on_study_opened(event: StudyOpened, envelope: Envelope) -> None:
        """On StudyOpened: the study is in use and is evicted late."""
        await cache.note_opened(event.holder, event.study_uid, event.opened_at)

    @router.on(StudyPinned, "study-used")
    async def pin_study_on_study_pinned(event: StudyPinned, envelope: Envelope) -> None:
        """On StudyPinned: it is not evicted while the case needs it."""
        await cache.pin(event.holder, event.study_uid, event.case_id)

    @router.on(StudyReleased, "study-used")
    async def release_study_on_study_released(event: StudyReleased, envelope: Envelope) -> None:
        """On StudyReleased: the case no longer needs it."""
        await cache.release(event.holder, event.study_uid, event.case_id)

    @router.on(StudyDeletionRequested, "study-commanded")
    async def order_deletion_on_study_deletion_requested(event: StudyDeletionRequested, envelope: Envelope) -> None:
        """On StudyDeletionRequested: the study's objects go after the retention; then emits InstancesEvicted."""
        await deletions.order_deletion(event)

    @router.on(StudyRestored, "study-commanded")
    async def order_restoration_on_study_restored(event: StudyRestored, envelope: Envelope) -> None:
        """On StudyRestored: they stay."""
        await deletions.order_restoration(event)

    @router.on(StudyHeld, "study-commanded")
    async def order_hold_on_study_held(event: StudyHeld, envelope: Envelope) -> None:
        """On StudyHeld: nothing of the study goes while it is held."""
        await deletions.order_hold(event)

    return router


def build_check_router(check_study: CheckStudy) -> EventRouter:
    """What operators do when something was lost."""
    router = EventRouter()

    @router.on(StudyCheckRequested, "study-commanded")
    async def check_study_on_study_check_requested(event: StudyCheckRequested, envelope: Envelope) -> None:
        """On StudyCheckRequested: packs that are not there are made anew from what is; emits InstancesStored."""
        await check_study(event)

    return router
