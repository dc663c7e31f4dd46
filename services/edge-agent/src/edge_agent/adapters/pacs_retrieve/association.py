"""An association to the PACS as a requestor (PS3.8), on the same hardened transport as the region's acceptors."""

import queue
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom._globals import MODE_REQUESTOR
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

from edge_agent.errors import PacsRefused, PacsUnreachable
from imaging_common.dicom.association import make_ae
from imaging_common.dicom.reception import ReceptionDimse, WakingQueue
from imaging_common.dicom.sinks import DataSink, StoreRequest
from imaging_common.dicom.transport import SOCKET_TIMEOUT_SECONDS, TICK_SECONDS, HardenedSocket

CONNECT_SECONDS = 5.0
WAITING_ANSWERS = 20_000
"""Answers to one C-FIND that may wait to be read: a PACS sends them without a pause, each some hundred bytes."""
RECEIVED_PDU_BYTES = 128 << 10
"""DCMTK, and with it Orthanc, sends no more than this in one PDU."""


class RequestorSocket(HardenedSocket):
    """Connects, then reads as an acceptor's socket does."""

    def __init__(self, assoc: Association) -> None:
        AssociationSocket.__init__(self, assoc, address=AddressInformation("0.0.0.0", 0))  # noqa: S104
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)

    def connect(self, primitive: T_CONNECT) -> None:
        """Connect, with a deadline on every later read and write."""
        mine = self.socket
        super().connect(primitive)
        if self.socket is None and mine is not None:
            mine.close()  # pynetdicom leaves a socket open that did not connect
        if self.socket is not None and self._is_connected:
            self.socket.settimeout(SOCKET_TIMEOUT_SECONDS)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _shutdown_socket(self) -> None:
        """See `HardenedSocket`; pynetdicom leaves a socket open that was never connected."""
        sock = self.socket
        super()._shutdown_socket()
        if sock is not None:
            sock.close()


class RequestorDimse(ReceptionDimse):
    """As an acceptor's; but a wake-up call without a message ends no wait while the association stands."""

    def get_msg(self, block: bool = False) -> Any:
        """The next message; (None, None): none in time, or the association has ended."""
        deadline = time.monotonic() + (self.dimse_timeout if block else 0.0)
        while True:
            try:
                context, message = self.msg_queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None, None
            if message is not None or not is_open(self.assoc):
                return context, message


def open_association(
    ae_title: str,
    called: str,
    address: tuple[str, int],
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[str] = (),
    open_sink: Callable[[StoreRequest], DataSink] | None = None,
    handlers: Sequence[tuple[Any, Callable[..., Any]]] = (),
    timeout_seconds: float = 20.0,
) -> Association:
    """Associate with the PACS; blocking.

    Parameters
    ----------
    contexts
        At most 128; they are given their ids here.
    roles
        SOP classes of which the agent is the SCP on this association (PS3.7 D.3.3.4), for C-GET.
    open_sink
        Where the data set of a C-STORE goes.

    Raises
    ------
    PacsUnreachable
        No connection, or no answer in time.
    PacsRefused
        The association is rejected.
    """
    ae = make_ae(ae_title)
    ae.acse_timeout = min(ae.acse_timeout or timeout_seconds, timeout_seconds)
    ae.dimse_timeout = timeout_seconds
    ae.connection_timeout = CONNECT_SECONDS
    assoc = Association(ae, MODE_REQUESTOR)
    sock = RequestorSocket(assoc)
    assoc.set_socket(sock)
    assoc.dimse = RequestorDimse(assoc, open_sink or _no_sink, TICK_SECONDS)
    assoc.dimse.max_waiting = WAITING_ANSWERS
    assoc.dul._run_loop_delay = 0
    assoc.dul.to_provider_queue = WakingQueue(sock.wake)
    assoc.dul.to_user_queue = WakingQueue(assoc.dimse.wake)
    assoc.acceptor.ae_title = called
    assoc.acceptor.address_info = AddressInformation.from_addr_port(*address)
    assoc.requestor.ae_title = ae_title
    assoc.requestor.address_info = AddressInformation("0.0.0.0", 0)  # noqa: S104
    assoc.requestor.maximum_length = RECEIVED_PDU_BYTES
    assoc.requestor.implementation_class_uid = ae.implementation_class_uid
    assoc.requestor.implementation_version_name = ae.implementation_version_name
    for sop_class in roles:
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid = UID(sop_class)
        role.scu_role, role.scp_role = False, True
        assoc.requestor.add_negotiation_item(role)
    numbered = []
    for number, context in enumerate(contexts):
        one = build_context(context.abstract_syntax, list(context.transfer_syntax))
        one.context_id = 2 * number + 1
        numbered.append(one)
    assoc.requestor.requested_contexts = numbered
    for event, handler in handlers:
        assoc.bind(event, handler)
    assoc.request()
    if assoc.is_rejected:
        raise PacsRefused("the PACS rejects the association")
    if not assoc.is_established:
        raise PacsUnreachable("the PACS does not answer to an association request")
    # nothing comes unasked on a requestor's association, so there is no thread that waits for it
    assoc._is_paused = True
    return assoc


def is_open(assoc: Association) -> bool:
    """Whether it can be used again: neither side has ended it."""
    ended = assoc.is_aborted or assoc.is_released or not assoc.is_established
    return not ended and assoc.dul.is_alive() and assoc.dul.to_user_queue.empty()


def close_association(assoc: Association) -> None:
    """Release it, or abort it where that does not work; blocking."""
    try:
        if is_open(assoc):
            assoc.release()
        elif assoc.dul.is_alive():
            assoc.abort()
    finally:
        assoc.kill()


def _no_sink(_: StoreRequest) -> DataSink:
    raise ValueError("nothing was asked for on this association")
