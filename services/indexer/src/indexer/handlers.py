"""Events in: which event leads to which use case."""

from imaging_common.events import (
    Envelope,
    HospitalRegistered,
    InstancesReceived,
    InstancesStored,
    StudyAvailable,
)
from imaging_common.messaging import EventRouter
from imaging_common.objects.model import ARCHIVE_BUCKET, STAGING_BUCKET
from indexer.errors import ForeignManifest
from indexer.ports import Index
from indexer.usecases.announce_study import AnnounceStudy
from indexer.usecases.sweep_objects import IndexObject


def build_router(index: Index, index_object: IndexObject, announce_study: AnnounceStudy) -> EventRouter:
    """The whole map from events to use cases."""
    router = EventRouter()

    @router.on(InstancesReceived, "instances-received")
    async def index_batch_on_instances_received(event: InstancesReceived, envelope: Envelope) -> None:
        """On InstancesReceived: index the staged batch; emits StudyChanged."""
        _refuse_foreign(event.hospital, event.study_uid, event.manifest_key)
        await index_object(STAGING_BUCKET, event.manifest_key)

    @router.on(InstancesStored, "instances-stored")
    async def move_location_on_instances_stored(event: InstancesStored, envelope: Envelope) -> None:
        """On InstancesStored: point to the archive pack; emits InstancesLocated and StudyChanged."""
        _refuse_foreign(event.hospital, event.study_uid, event.manifest_key)
        await index_object(ARCHIVE_BUCKET, event.manifest_key)

    @router.on(StudyAvailable, "edge-events-<hospital>")
    async def index_study_on_study_available(event: StudyAvailable, envelope: Envelope) -> None:
        """On StudyAvailable: note what the speaking hospital says of its own study; emits StudyChanged."""
        await announce_study(envelope.speaker, event)

    @router.on(HospitalRegistered, "hospital-registered")
    async def keep_policy_on_hospital_registered(event: HospitalRegistered, envelope: Envelope) -> None:
        """On HospitalRegistered: keep the hospital's tier for studies to come."""
        await index.register(event)

    return router


def _refuse_foreign(hospital: str, study_uid: str, key: str) -> None:
    if not key.startswith(f"{hospital}/{study_uid}/"):
        raise ForeignManifest("an event names a manifest of another hospital or study")
