"""The transport of a hardened association (PS3.8 §9.1): reads PDUs with a cap and a deadline, waits without polling.

A peer that sends with Nagle's algorithm (DCMTK, Orthanc) waits at each message's end until its last bytes are
acknowledged, which a receiver delays by 40 ms: here every acknowledgement goes at once.
"""

import select
import socket
import time
from collections.abc import Iterable
from typing import Any

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from imaging_common.dicom.reception import ReceptionDimse

MAX_PDU_BYTES = 1 << 20
PDU_DEADLINE_SECONDS = 30.0
SOCKET_TIMEOUT_SECONDS = 10.0
TICK_SECONDS = 0.05
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


class HardenedSocket(AssociationSocket):  # type: ignore[misc]
    """Reads whole PDUs with a cap and a deadline, and waits for data or for something to send."""

    socket: Any

    def __init__(self, assoc: Association, client_socket: socket.socket) -> None:
        super().__init__(assoc, client_socket=client_socket)
        client_socket.settimeout(SOCKET_TIMEOUT_SECONDS)
        if client_socket.family in (socket.AF_INET, socket.AF_INET6):
            client_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)

    def wake(self) -> None:
        """End a wait in `ready`; safe from any thread."""
        try:
            self._wake_write.send(b"\0")
        except OSError:  # the pipe is full, so it wakes anyway, or it is closed
            return

    @property
    def ready(self) -> bool:
        """Whether there is something to read; waits a moment for that or for a primitive to send."""
        if self.socket is None or self._is_connected is False:
            return False
        _acknowledge_at_once(self.socket)
        if getattr(self.socket, "pending", None) and self.socket.pending():
            return True
        try:
            readable, _, _ = _select((self.socket, self._wake_read), TICK_SECONDS)
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False
        if self._wake_read in readable:
            try:
                self._wake_read.recv(4096)
            except OSError:
                return False
        return self.socket in readable

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes`, fewer when the peer closes.

        Raises
        ------
        OSError
            The PDU is larger than the cap, or does not arrive in time; pynetdicom then closes the connection.
        """
        if nr_bytes > MAX_PDU_BYTES:
            raise OSError(f"a PDU of {nr_bytes} bytes is over the cap")
        _acknowledge_at_once(self.socket)
        data = bytearray(nr_bytes)
        view, at = memoryview(data), 0
        deadline = time.monotonic() + PDU_DEADLINE_SECONDS
        while at < nr_bytes:
            received = self.socket.recv_into(view[at:])
            if not received:
                view.release()
                return data[:at]
            at += received
            if time.monotonic() > deadline:
                raise TimeoutError("a PDU did not arrive in time")
        return data

    def _shutdown_socket(self) -> None:
        """All ways to the end of a connection lead here: drop what was arriving, and wake whoever waits for more."""
        super()._shutdown_socket()
        assoc = self.assoc
        if isinstance(assoc.dimse, ReceptionDimse):
            assoc.dimse.discard_unfinished()
        if not assoc.is_established:
            assoc.dul.to_user_queue.put(None)
        self._wake_read.close()
        self._wake_write.close()


def _acknowledge_at_once(sock: Any) -> None:
    """The kernel takes this back by itself, so it is said before each read."""
    if _QUICKACK is not None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except OSError:  # not TCP, or closed: the read tells
            return


def _select(sockets: Iterable[socket.socket], seconds: float) -> tuple[list[socket.socket], Any, Any]:
    """`select` without its limit of 1024 descriptors."""
    poller = select.poll()
    by_fd = {}
    for one in sockets:
        by_fd[one.fileno()] = one
        poller.register(one, select.POLLIN)
    return [by_fd[fd] for fd, _ in poller.poll(seconds * 1000)], [], []
