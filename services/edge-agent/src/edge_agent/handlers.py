"""Events in: the centre's commands to this hospital."""

from edge_agent.usecases import EdgeAgent
from imaging_common.events import BatchStored, Envelope
from imaging_common.messaging import EventRouter


def build_handlers(agent: EdgeAgent, hospital: str) -> EventRouter:
    """The agent's handlers on its own command topic."""
    router = EventRouter()

    @router.on(BatchStored, f"edge-commands-{hospital}")
    async def take_receipt_on_batch_stored(event: BatchStored, envelope: Envelope) -> None:
        """On BatchStored: move the copies to the ring."""
        await agent.take_receipt(event)

    return router
