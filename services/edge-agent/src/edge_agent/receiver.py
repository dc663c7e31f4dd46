"""One receiving process: `python -m edge_agent.receiver NUMBER LISTENER-FD WAKE-FD [TLS-LISTENER-FD]`.

Started by the agent, it ends with the agent: standard input is a pipe whose other end the agent holds.
"""

import os
import signal
import socket
import sys
import threading
import time

from edge_agent.adapters.intake import Intake
from edge_agent.adapters.journal import Journal
from edge_agent.adapters.spool import Budget, SpoolFolder, SpoolLock
from edge_agent.dimse import build_server
from edge_agent.settings import Settings
from imaging_common.telemetry import setup_telemetry, shutdown_telemetry

DRAIN_SECONDS = 5.0
LOCK = "receivers.lock"


def main(number: int, listener_fd: int, wake_fd: int, tls_fd: int | None = None) -> None:
    """Serve until SIGTERM, or until the agent is gone."""
    settings = Settings()
    threading.Thread(target=_end_with_agent, name="watch", daemon=True).start()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setup_telemetry("edge-agent", settings)
    folder = SpoolFolder(settings.spool_dir)
    SpoolLock(folder.root, LOCK).share()
    budget = Budget(folder.budget_path, settings.spool_limit_bytes, number)
    wake = socket.socket(fileno=wake_fd)
    wake.setblocking(False)
    journal = Journal(folder.journal_path, on_commit=budget.set_held)
    intake = Intake.start(folder, journal, lambda: _wake(wake))
    plain = build_server(settings, socket.socket(fileno=listener_fd), intake, budget, tls=settings.dimse_tls_only)
    servers = [plain]
    if tls_fd is not None:
        servers.append(build_server(settings, socket.socket(fileno=tls_fd), intake, budget, tls=True))
    for server in servers:
        server.start()
    _wake(wake)
    stop.wait()
    for server in servers:
        server.stop_accepting()
    deadline = time.monotonic() + DRAIN_SECONDS
    while any(server.active_associations for server in servers) and time.monotonic() < deadline:
        time.sleep(0.05)
    intake.stop()
    shutdown_telemetry()
    os._exit(0)  # associations that are still open have threads that are no daemons


def _wake(wake: socket.socket) -> None:
    try:
        wake.send(b"\1")
    except BlockingIOError:  # it has enough to wake up from
        return


def _end_with_agent() -> None:
    while sys.stdin.buffer.read(4096):
        continue
    os._exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
