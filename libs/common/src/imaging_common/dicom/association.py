"""A hardened Storage and Verification SCP on pynetdicom (PS3.7, PS3.8): bounded PDUs, no stalled sockets, all classes.

pynetdicom itself reads any announced PDU length before it knows the peer (PS3.8 §9.3), waits for silent peers, and
copies every context for each association; the classes here change exactly that.
"""

import copy
import socket
from collections.abc import Callable
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts
from pynetdicom.presentation import build_context
from pynetdicom.transport import AssociationServer, AssociationSocket, RequestHandler

MAX_PDU_BYTES = 1024 * 1024
RECEIVE_BUFFER = 256 * 1024
OFFERED_PDU_BYTES = 128 * 1024
SOCKET_TIMEOUT_SECONDS = 15.0
MAXIMUM_ASSOCIATIONS = 200
VERIFICATION = "1.2.840.10008.1.1"
TRANSFER_SYNTAXES = [
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.5",
]
"""Explicit VR Little Endian first, so that senders do not re-encode; never Deflated, which inflates without bound."""


class OversizedPdu(ConnectionError):
    """A peer announced a PDU beyond `MAX_PDU_BYTES`."""


class GuardedSocket(AssociationSocket):  # type: ignore[misc]
    """Refuses oversized PDUs before a byte of them is read, and reads in large pieces."""

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes`; fewer when the peer is gone."""
        if nr_bytes > MAX_PDU_BYTES:
            raise OversizedPdu(f"a PDU of {nr_bytes} bytes was announced; {MAX_PDU_BYTES} are taken")
        received = bytearray(nr_bytes)
        view, position = memoryview(received), 0
        while position < nr_bytes:
            count = self.socket.recv_into(view[position:], min(RECEIVE_BUFFER, nr_bytes - position))
            if not count:
                view.release()
                del received[position:]
                return received
            position += count
        return received


class GuardedRequestHandler(RequestHandler):  # type: ignore[misc]
    """Gives every association a guarded socket with a short timeout."""

    def _create_association(self) -> Any:
        self.request.settimeout(SOCKET_TIMEOUT_SECONDS)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        association = super()._create_association()
        association.dul.socket.__class__ = GuardedSocket
        return association


class SharedPortServer(AssociationServer):  # type: ignore[misc]
    """Lets several processes listen on one port; the kernel spreads the associations."""

    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind with SO_REUSEPORT."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


class _Contexts(list[Any]):
    """Presentation contexts that are copied shallowly for each association: their lists are never changed."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Contexts":
        return _Contexts(copy.copy(context) for context in self)


def build_entity(ae_title: str) -> AE:
    """An application entity with this project's limits."""
    entity = AE(ae_title=ae_title)
    entity.maximum_associations = MAXIMUM_ASSOCIATIONS
    entity.maximum_pdu_size = OFFERED_PDU_BYTES
    entity.acse_timeout = SOCKET_TIMEOUT_SECONDS
    entity.dimse_timeout = 60
    entity.network_timeout = 60
    entity.require_called_aet = True
    return entity


def make_server(entity: AE, host: str, port: int, handlers: list[tuple[Any, Callable[..., Any]]]) -> Any:
    """A bound server; the caller runs `serve_forever` in a thread and ends it with `shutdown`."""
    contexts = _Contexts(
        build_context(context.abstract_syntax, TRANSFER_SYNTAXES) for context in AllStoragePresentationContexts
    )
    contexts.append(build_context(VERIFICATION, TRANSFER_SYNTAXES[:2]))
    return entity.make_server(
        (host, port),
        ae_title=entity.ae_title,
        contexts=contexts,
        evt_handlers=handlers,
        server_class=SharedPortServer,
        request_handler=GuardedRequestHandler,
    )
