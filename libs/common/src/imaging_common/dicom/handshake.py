"""The TLS handshake of an accepted DICOM connection (PS3.15 B.12), with a deadline over all of it."""

import select
import socket
import ssl
import time


def secure(connection: socket.socket, context: ssl.SSLContext, seconds: float) -> ssl.SSLSocket:
    """Shake hands as the server; the connection is closed when that fails.

    Raises
    ------
    OSError
        The peer shows no certificate that holds, offers nothing of TLS 1.2 or 1.3, or takes longer than `seconds`.
    """
    deadline = time.monotonic() + seconds
    try:
        connection.setblocking(False)
        secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    except (OSError, ValueError) as error:  # ValueError: the peer is gone
        connection.close()
        raise OSError("the peer is gone") from error
    try:
        while True:
            try:
                secured.do_handshake()
                return secured
            except ssl.SSLWantReadError:
                _wait(secured, select.POLLIN, deadline)
            except ssl.SSLWantWriteError:
                _wait(secured, select.POLLOUT, deadline)
    except BaseException:
        secured.close()
        raise


def _wait(connection: socket.socket, what: int, deadline: float) -> None:
    poller = select.poll()
    poller.register(connection, what)
    left = deadline - time.monotonic()
    if left <= 0 or not poller.poll(left * 1000):
        raise TimeoutError("the TLS handshake took too long")
