"""A DICOM association acceptor (PS3.8) on pynetdicom that a hostile or broken peer cannot take down.

pynetdicom reads a PDU of whatever length a peer announces, waits for silent sockets, keeps a data set in memory, and
polls every millisecond. Here: a cap on PDUs and a deadline on reading them, the address checked before anything else,
command sets and queues bounded, data sets streamed into a `DataSink`, reactors that wait for events, contexts copied
shallowly, and a listening socket that several processes can share.
"""

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation, AssociationServer, RequestHandler

from imaging_common.dicom.contexts import supported_contexts
from imaging_common.dicom.handshake import secure
from imaging_common.dicom.reception import ReceptionDimse, SinkFactory, WakingQueue
from imaging_common.dicom.transport import TICK_SECONDS, HardenedSocket
from imaging_common.tls import PeerNames, names_of_der

_log = logging.getLogger(__name__)
OFFERED_PDU_BYTES = 256 << 10
ACSE_TIMEOUT_SECONDS = 10
IDLE_TIMEOUT_SECONDS = 60
MAX_ASSOCIATIONS = 128
HANDSHAKES = 32
"""TLS handshakes at a time; each has `ACSE_TIMEOUT_SECONDS`."""

Handlers = list[tuple[Any, Callable[..., Any]]]
AllowCaller = Callable[[str, str], bool]
"""(calling AE title, address) -> whether it may associate; an empty title asks for the address alone."""
AllowPeer = Callable[[PeerNames, str], bool]
"""(what the peer's certificate names, calling AE title) -> whether the one may use the other."""


class HardenedHandler(RequestHandler):  # type: ignore[misc]
    """Makes the association of an accepted connection."""

    server: "HardenedServer"

    def _create_association(self) -> Association:
        server = self.server
        assoc = server.association_class(self.ae, MODE_ACCEPTOR)
        assoc._server = server
        assoc.name = f"AcceptorThread@{self.client_address[0]}:{self.client_address[1]}"
        sock = HardenedSocket(assoc, self.request)
        assoc.set_socket(sock)
        assoc.dimse = ReceptionDimse(assoc, server.open_sink, TICK_SECONDS)
        assoc.dul._run_loop_delay = 0
        assoc.dul.artim_timer.timeout = self.ae.acse_timeout
        assoc.dul.to_provider_queue = WakingQueue(sock.wake)
        assoc.dul.to_user_queue = WakingQueue(assoc.dimse.wake)
        assoc.acceptor.maximum_length = self.ae.maximum_pdu_size
        assoc.acceptor.ae_title = server.ae_title
        assoc.acceptor.address_info = self.local
        assoc.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        assoc.acceptor.implementation_version_name = self.ae.implementation_version_name
        assoc.acceptor.supported_contexts = list(server.contexts)  # negotiation reads them and makes its own
        assoc.requestor.address_info = AddressInformation.from_tuple(self.client_address)
        for event, bound in server._handlers.items():
            if event.is_intervention:
                assoc.bind(event, *bound)
            else:
                for handler, args in bound:
                    assoc.bind(event, handler, args)
        return assoc


class HardenedServer(AssociationServer):  # type: ignore[misc]
    """Accepts connections, from a listening socket of its own or a shared one.

    Parameters
    ----------
    listener
        A bound and listening socket (see `listen`).
    allow
        Who may associate.
    open_sink
        Makes the sink for one C-STORE's data set.
    handlers
        pynetdicom's (event, function) pairs.
    contexts
        What is offered; None: Verification and every storage SOP class.
    ssl_context, allow_peer
        The server speaks TLS and nothing else; the calling AE title must be one that the certificate allows.
    """

    request_queue_size = 128
    association_class: type[Association] = Association
    socket: Any

    def __init__(
        self,
        ae: AE,
        listener: socket.socket,
        allow: AllowCaller,
        open_sink: SinkFactory,
        handlers: Handlers,
        ssl_context: ssl.SSLContext | None = None,
        contexts: list[PresentationContext] | None = None,
        allow_peer: AllowPeer | None = None,
    ) -> None:
        self._listener = listener
        self._allow_peer = allow_peer
        self._handshakes = threading.BoundedSemaphore(HANDSHAKES)
        self._allow = allow
        self.open_sink = open_sink
        bound: Handlers = [
            (evt.EVT_REQUESTED, self._check_caller),
            (evt.EVT_C_ECHO, lambda _: 0x0000),
            *handlers,
        ]
        super().__init__(
            ae,
            listener.getsockname()[:2],
            ae.ae_title,
            contexts or supported_contexts(),
            ssl_context,
            bound,
            HardenedHandler,
        )
        ae._servers.append(self)
        self._thread = threading.Thread(target=self.serve_forever, name="dimse-server", daemon=True)

    def start(self) -> None:
        """Accept connections, in a thread."""
        self._thread.start()

    def server_bind(self) -> None:
        """Take the given listener in place of the socket that `TCPServer` made."""
        self.socket.close()
        self.socket = self._listener
        self.socket.setblocking(False)  # another process may have accepted first
        self.server_address = self.socket.getsockname()[:2]

    def server_close(self) -> None:
        """Close this process's handle only: `shutdown(2)` would end the listener for all that share it."""
        self.socket.close()

    def stop_accepting(self) -> None:
        """Take no more connections; associations go on."""
        self.shutdown()

    def server_activate(self) -> None:
        """Nothing to do: the listener listens."""

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; TLS comes later, so that a silent peer holds nobody else up."""
        accepted: tuple[socket.socket, Any] = self.socket.accept()
        return accepted

    def process_request(self, request: Any, client_address: Any) -> None:
        """Make the association, after a handshake where TLS is spoken."""
        if self.ssl_context is None:
            super().process_request(request, client_address)
        elif self._handshakes.acquire(blocking=False):
            threading.Thread(target=self._shake_hands, args=(request, client_address), daemon=True).start()
        else:
            _log.warning("connection refused: too many TLS handshakes")
            request.close()

    def _shake_hands(self, connection: socket.socket, client_address: Any) -> None:
        try:
            secured = secure(connection, self.ssl_context, ACSE_TIMEOUT_SECONDS)
        except OSError as error:
            _log.warning("tls-handshake-failed", extra={"reason": getattr(error, "reason", type(error).__name__)})
            return
        finally:
            self._handshakes.release()
        self.finish_request(secured, client_address)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Turn an address away that no allowed caller has, before a byte is read."""
        return self._allow("", client_address[0])

    def _check_caller(self, event: evt.Event) -> None:
        assoc = event.assoc
        primitive = assoc.requestor.primitive
        caller = str(primitive.calling_ae_title).strip()
        if not (self._allow(caller, assoc.requestor.address) and self._certified(assoc, caller)):
            _log.warning("association refused: the calling AE title is not allowed from this address or peer")
            # rejected-permanent, service user, calling AE title not recognised (PS3.8 §9.3.4)
            assoc.acse.send_reject(0x01, 0x01, 0x03)
            assoc.is_rejected = True
            assoc.kill()

    def _certified(self, assoc: Association, caller: str) -> bool:
        """Whether the peer's certificate lets it call itself so; without TLS there is none to ask."""
        if self.ssl_context is None or self._allow_peer is None:
            return True
        der = assoc.dul.socket.socket.getpeercert(binary_form=True)
        try:
            return der is not None and self._allow_peer(names_of_der(der), caller)
        except ValueError:
            return False


def listen(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A listening socket, to be given to `HardenedServer`, in this process or another.

    Raises
    ------
    OSError
        The port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(HardenedServer.request_queue_size)
    except BaseException:
        listener.close()
        raise
    return listener


def make_ae(ae_title: str, max_associations: int = MAX_ASSOCIATIONS) -> AE:
    """An application entity with the region's limits; also switches off pynetdicom's logging of every message."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    ae = AE(ae_title)
    ae.maximum_pdu_size = OFFERED_PDU_BYTES
    ae.maximum_associations = max_associations
    ae.acse_timeout = ACSE_TIMEOUT_SECONDS
    ae.dimse_timeout = IDLE_TIMEOUT_SECONDS
    ae.network_timeout = IDLE_TIMEOUT_SECONDS
    return ae
