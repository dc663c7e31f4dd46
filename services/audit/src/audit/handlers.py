"""Events in: every service's audit records."""

from audit.ports import RecordStore
from audit.usecases import append_record
from imaging_common.events import AuditRecorded, Envelope
from imaging_common.messaging import EventRouter


def build_router(store: RecordStore) -> EventRouter:
    """The whole map from events to use cases."""
    router = EventRouter()

    @router.on(AuditRecorded, "audit-recorded")
    async def append_record_on_audit_recorded(event: AuditRecorded, envelope: Envelope) -> None:
        """On AuditRecorded: append it to its partition's chain, once."""
        await append_record(store, event, f"{envelope.topic}-{envelope.partition}")

    return router
