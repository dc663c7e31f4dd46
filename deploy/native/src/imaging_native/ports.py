"""Ports for servers and services that stay theirs, also while one is down for a moment."""

import atexit
import contextlib
import secrets
import socket

LOWEST, HIGHEST = 15_000, 32_000
"""Below the range from which Linux takes the ports of outgoing connections (32768–60999): none of them can slip in
between choosing a port and listening on it, or while a process that was killed starts again."""
TRIES = 1_000
_claims: dict[int, socket.socket] = {}


def free_port() -> int:
    """A TCP port of the loopback address that is free, and that no other region on this machine gets.

    The claim is a name in the kernel's abstract socket namespace; it ends with this process.
    """
    for _ in range(TRIES):
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0imaging-region-port-{port}")
            with contextlib.closing(socket.socket()) as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims[port] = claim
        return port
    raise RuntimeError(f"no free port from {LOWEST} to {HIGHEST}")


@atexit.register
def _release_all() -> None:
    for claim in _claims.values():
        claim.close()


def release(port: int) -> None:
    """Give a claim back."""
    _claims.pop(port).close()
