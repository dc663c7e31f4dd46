"""Events in: which event leads to which use case."""

from imaging_common.events import Envelope, HospitalRegistered, InstancesLocated, InstancesReceived
from imaging_common.messaging import EventRouter
from object_writer.errors import ForeignManifest
from object_writer.ports import Ledger
from object_writer.usecases.note_batch import NoteBatch


def build_router(note_batch: NoteBatch, ledger: Ledger) -> EventRouter:
    """The whole map from events to use cases."""
    router = EventRouter()

    @router.on(InstancesReceived, "instances-received")
    async def note_batch_on_instances_received(event: InstancesReceived, envelope: Envelope) -> None:
        """On InstancesReceived: note the batch, its series are packed once quiet; emits BatchStored for old ones."""
        if not event.manifest_key.startswith(f"{event.hospital}/{event.study_uid}/"):
            raise ForeignManifest("an event names a manifest of another hospital or study")
        await note_batch(event.manifest_key)

    @router.on(InstancesLocated, "instances-located")
    async def note_located_on_instances_located(event: InstancesLocated, envelope: Envelope) -> None:
        """On InstancesLocated: the staged copies may go after the grace; emits BatchStored."""
        await ledger.note_located(event)

    @router.on(HospitalRegistered, "hospital-registered")
    async def keep_policy_on_hospital_registered(event: HospitalRegistered, envelope: Envelope) -> None:
        """On HospitalRegistered: keep what the hospital wants done with its pixels."""
        await ledger.set_compression(event.hospital, event.compression, event.revision)

    return router
