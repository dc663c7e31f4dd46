"""Events in: the centre's commands to this hospital."""

from edge_agent.usecases.keep_ring import Ring
from imaging_common.events import BatchStored, Envelope
from imaging_common.messaging import EventRouter


def build_router(hospital: str, ring: Ring) -> EventRouter:
    """The handlers on this hospital's own command topic."""
    router = EventRouter()

    @router.on(BatchStored, f"edge-commands-{hospital}")
    async def take_receipt_on_batch_stored(event: BatchStored, envelope: Envelope) -> None:
        """On BatchStored: the copies it names move to the ring; emits nothing."""
        await ring.take_receipt(event)

    return router
