"""Events in: the centre's commands to this hospital."""

import asyncio
from typing import Protocol

from edge_agent.ports import Orders
from edge_agent.usecases.answer_echo import EchoDesk
from edge_agent.usecases.keep_ring import Ring
from edge_agent.usecases.say_again import SayAgain
from imaging_common.events import (
    AnnounceRequested,
    BatchStored,
    EchoRequested,
    Envelope,
    HospitalRegistered,
    InstancesWanted,
    OrderCancelled,
    OrderPlaced,
    ReportWriteBackRequested,
    RetrieveCancelled,
    RetrieveRequested,
)
from imaging_common.messaging import EventRouter


def build_router(hospital: str, ring: Ring) -> EventRouter:
    """The handlers on this hospital's own command topic."""
    router = EventRouter()

    @router.on(BatchStored, f"edge-commands-{hospital}")
    async def take_receipt_on_batch_stored(event: BatchStored, envelope: Envelope) -> None:
        """On BatchStored: the copies it names move to the ring; emits nothing."""
        await ring.take_receipt(event)

    return router


def build_order_router(hospital: str, orders: Orders) -> EventRouter:
    """The handlers of the modality worklist, on the same topic."""
    router = EventRouter()

    @router.on(OrderPlaced, f"edge-commands-{hospital}")
    async def place_order_on_order_placed(event: OrderPlaced, envelope: Envelope) -> None:
        """On OrderPlaced: the order stands in the worklist; emits nothing."""
        await asyncio.to_thread(orders.put, event)

    @router.on(OrderCancelled, f"edge-commands-{hospital}")
    async def cancel_order_on_order_cancelled(event: OrderCancelled, envelope: Envelope) -> None:
        """On OrderCancelled: the order leaves the worklist; emits nothing."""
        await asyncio.to_thread(orders.cancel, event.order_id, event.revision)

    return router


def build_echo_router(hospital: str, desk: EchoDesk) -> EventRouter:
    """The handler of the operators' test, on the same topic."""
    router = EventRouter()

    @router.on(EchoRequested, f"edge-commands-{hospital}")
    async def answer_echo_on_echo_requested(event: EchoRequested, envelope: Envelope) -> None:
        """On EchoRequested: ask the PACS for an echo, unless nobody waits any more; emits EchoAnswered."""
        desk.begin(event)

    return router


def build_again_router(hospital: str, again: SayAgain) -> EventRouter:
    """The handlers of what the centre lost, on the same topic."""
    router = EventRouter()

    @router.on(AnnounceRequested, f"edge-commands-{hospital}")
    async def announce_again_on_announce_requested(event: AnnounceRequested, envelope: Envelope) -> None:
        """On AnnounceRequested: announce under the next numbers; emits StudyAvailable, StudyWithdrawn later."""
        await again.announce(event)

    @router.on(InstancesWanted, f"edge-commands-{hospital}")
    async def send_again_on_instances_wanted(event: InstancesWanted, envelope: Envelope) -> None:
        """On InstancesWanted: what of it lies in the spool goes to the centre once more; emits nothing."""
        await again.send(event)

    return router


class WriteBackCommands(Protocol):
    """What takes reports that are to go into the PACS."""

    async def request(self, request: ReportWriteBackRequested) -> None:
        """Keep a command durably."""
        ...


def build_write_back_router(hospital: str, writing_back: WriteBackCommands) -> EventRouter:
    """The handler of reports that come back, on the same topic."""
    router = EventRouter()

    @router.on(ReportWriteBackRequested, f"edge-commands-{hospital}")
    async def write_back_on_report_write_back_requested(event: ReportWriteBackRequested, envelope: Envelope) -> None:
        """On ReportWriteBackRequested: keep it in the journal and begin; emits WriteBackDone later."""
        await writing_back.request(event)

    return router


class RetrieveCommands(Protocol):
    """What takes the commands about the PACS's images."""

    async def request(self, request: RetrieveRequested) -> None:
        """Keep a request durably."""
        ...

    async def cancel(self, command: RetrieveCancelled) -> None:
        """Remember durably that nobody wants it."""
        ...

    async def take_policy(self, policy: HospitalRegistered) -> None:
        """Remember the hospital's tier durably."""
        ...


def build_retrieve_router(hospital: str, retrieving: RetrieveCommands) -> EventRouter:
    """The handlers of retrievals, on the same topic, and of the hospital's policy."""
    router = EventRouter()

    @router.on(RetrieveRequested, f"edge-commands-{hospital}")
    async def keep_request_on_retrieve_requested(event: RetrieveRequested, envelope: Envelope) -> None:
        """On RetrieveRequested: keep it in the journal and begin; emits RetrieveProgressed, RetrieveFailed later."""
        await retrieving.request(event)

    @router.on(RetrieveCancelled, f"edge-commands-{hospital}")
    async def cancel_retrieval_on_retrieve_cancelled(event: RetrieveCancelled, envelope: Envelope) -> None:
        """On RetrieveCancelled: nothing more is fetched; emits RetrieveProgressed (cancelled)."""
        await retrieving.cancel(event)

    @router.on(HospitalRegistered, "hospital-registered")
    async def take_policy_on_hospital_registered(event: HospitalRegistered, envelope: Envelope) -> None:
        """On HospitalRegistered: in the central tier copy the PACS's history; emits nothing."""
        await retrieving.take_policy(event)

    return router
