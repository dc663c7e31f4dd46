"""HTTP in: what the journal says, for operators and tests inside the hospital. Listens on the agent's own machine."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from edge_agent.adapters.journal import Journal
from edge_agent.settings import Settings
from imaging_common.ids import Uid


def build_router(settings: Settings, journal: Journal) -> APIRouter:
    """`/status` and `/journal`."""
    router = APIRouter()

    @router.get("/status")
    async def status() -> dict[str, Any]:
        """Backlog and spool, in instances and bytes."""
        backlog = journal.backlog()
        return {
            "hospital": settings.hospital,
            "backlog_instances": backlog.instances,
            "backlog_bytes": backlog.bytes,
            "spool_bytes": backlog.spool_bytes,
            "spool_limit_bytes": settings.spool_limit_bytes,
        }

    @router.get("/journal")
    async def rows(study: Annotated[Uid, Query()]) -> list[dict[str, str]]:
        """Every instance of a study that was acknowledged, with its digest and state."""
        return journal.rows(study)

    return router
