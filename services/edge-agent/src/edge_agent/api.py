"""HTTP in: what the journal says, for operators and tests on the agent's own machine."""

import ipaddress
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, HTTPException, Query, Request

from edge_agent.model import Usage
from edge_agent.settings import Settings
from imaging_common.ids import Uid


class JournalView(Protocol):
    """What the API reads."""

    def usage(self) -> Usage:
        """What lies in the spool."""
        ...

    def states_of(self, study_uid: str) -> list[dict[str, str]]:
        """A study's instances."""
        ...

    def refusals(self) -> dict[str, int]:
        """Refused instances by reason."""
        ...


def only_local(request: Request) -> None:
    """Answer 403 to every address but the loopback's: there is no sign-in here."""
    host = request.client.host if request.client else ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise HTTPException(403, "only from the agent's own machine")


def build_router(settings: Settings, journal: JournalView) -> APIRouter:
    """`/status` and `/journal`."""
    router = APIRouter(dependencies=[Depends(only_local)])

    @router.get("/status")
    async def status() -> dict[str, Any]:
        """Counts and bytes by state, backlog, and what was refused."""
        usage = journal.usage()
        return {
            "hospital": settings.hospital,
            "instances": usage.instances,
            "bytes": usage.bytes,
            "backlog_instances": usage.backlog_instances,
            "backlog_bytes": usage.backlog_bytes,
            "spool_bytes": usage.held_bytes + usage.ring_bytes,
            "spool_limit_bytes": settings.spool_limit_bytes,
            "refused": journal.refusals(),
        }

    @router.get("/journal")
    async def rows(study: Annotated[Uid, Query()]) -> list[dict[str, str]]:
        """Every instance of a study that was acknowledged: `sop_instance_uid`, `sha256`, `state`, `reason`."""
        return journal.states_of(study)

    return router
