"""HTTP in: what the journal says, for operators and tests on the agent's own machine."""

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import asdict
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, HTTPException, Query, Request

from edge_agent.model import ReportCounts, Usage
from edge_agent.settings import Settings
from imaging_common.events import PacsState
from imaging_common.http import Access, access
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


class ReportsView(Protocol):
    """What the API reads of the hospital's messages."""

    def counts(self) -> ReportCounts:
        """How many reports are where."""
        ...

    def refusals(self) -> dict[str, int]:
        """Messages that were not acknowledged, by reason."""
        ...

    def refused(self) -> list[dict[str, str]]:
        """Reports that the centre refused, with reasons."""
        ...


def only_from(networks: Sequence[IPv4Network | IPv6Network]) -> Callable[[Request], None]:
    """Answers 403 to every address but the loopback's and those of `networks`: there is no sign-in here."""

    def check(request: Request) -> None:
        host = request.client.host if request.client else ""
        try:
            address = ipaddress.ip_address(host)
            near = address.is_loopback or any(address in network for network in networks)
        except ValueError:
            near = False
        if not near:
            raise HTTPException(403, "only from the agent's own machine and the networks in EDGE_AGENT_STATUS_NETWORKS")

    return check


class PacsView(Protocol):
    """What the API reads of the watch over the PACS."""

    def state(self) -> PacsState | None:
        """How agent and PACS get on; None: it was not called yet."""
        ...


class RetrievingView(Protocol):
    """What the API reads of the retrievals."""

    def status(self) -> dict[str, Any]:
        """Retrievals by state and priority, and the copying of history. Blocking."""
        ...


class WriteBackView(Protocol):
    """What the API reads of the reports that come back."""

    def states(self) -> dict[str, int]:
        """How many write-backs are in which state. Blocking."""
        ...


def build_router(
    settings: Settings,
    journal: JournalView,
    reports: ReportsView,
    pacs: PacsView | None = None,
    retrieving: RetrievingView | None = None,
    writing_back: WriteBackView | None = None,
) -> APIRouter:
    """`/status` and `/journal`."""
    router = APIRouter(dependencies=[Depends(only_from(settings.status_networks))])

    @router.get("/status", openapi_extra=access(Access.LOCAL))
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
            "retrievals": await asyncio.to_thread(retrieving.status) if retrieving else None,
            "write_backs": await asyncio.to_thread(writing_back.states) if writing_back else None,
            "pacs": _json(await asyncio.to_thread(pacs.state)) if pacs else None,
            "reports": {**asdict(reports.counts()), "not_acknowledged": reports.refusals(), "aside": reports.refused()},
        }

    @router.get("/journal", openapi_extra=access(Access.LOCAL))
    async def rows(study: Annotated[Uid, Query()]) -> list[dict[str, str]]:
        """Every instance of a study that was acknowledged: `sop_instance_uid`, `sha256`, `state`, `reason`."""
        return journal.states_of(study)

    return router


def _json(state: PacsState | None) -> dict[str, Any] | None:
    return None if state is None else state.model_dump(mode="json")
