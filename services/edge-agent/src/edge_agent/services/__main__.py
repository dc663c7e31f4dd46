"""The services AE's process: `python -m edge_agent.services LISTENER-FD HINT-FD [TLS-LISTENER-FD]`.

Started by the agent, it ends with it: standard input is a pipe whose other end the agent holds. A study that a notice
names goes to the agent as a datagram.
"""

import os
import shutil
import signal
import socket
import sys
import threading

from edge_agent.adapters.centre_client import CentreIdentity
from edge_agent.adapters.commitment_journal import CommitmentJournal
from edge_agent.adapters.database import Database
from edge_agent.adapters.order_journal import OrderJournal
from edge_agent.adapters.spool import SpoolFolder
from edge_agent.adapters.token import AccessToken
from edge_agent.model import AllowList
from edge_agent.peers import tls_options
from edge_agent.services.coercion import Coercion
from edge_agent.services.commitment import CommitmentService
from edge_agent.services.find import FindService
from edge_agent.services.notices import NoticeService
from edge_agent.services.objects import tolerate_everything
from edge_agent.services.peers import parse_peers
from edge_agent.services.query import RegionQuery
from edge_agent.services.region import RegionDicomweb, ThreadedToken
from edge_agent.services.retrieve import RetrieveService
from edge_agent.services.server import ServicesServer, build_services_server
from edge_agent.services.worklist import WorklistService
from edge_agent.settings import Settings
from imaging_common.telemetry import setup_telemetry, shutdown_telemetry


def main(listener_fd: int, hint_fd: int, tls_fd: int | None = None) -> None:
    """Serve until SIGTERM, or until the agent is gone."""
    settings = Settings()
    threading.Thread(target=_end_with_agent, name="watch", daemon=True).start()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setup_telemetry("edge-agent", settings)
    tolerate_everything()
    hints = socket.socket(fileno=hint_fd)
    hints.setblocking(False)
    database = Database(SpoolFolder(settings.spool_dir).journal_path)
    peers = parse_peers(settings.workstations)
    commitment = CommitmentService(
        CommitmentJournal(database),
        settings.ae_title,
        peers | parse_peers(settings.commitment_peers),
        settings.commitment_wait_seconds,
        settings.commitment_attempts,
    )
    listeners = [socket.socket(fileno=fd) for fd in (listener_fd, tls_fd) if fd is not None]
    servers = _servers(settings, listeners, database, commitment, hints)
    for server in servers:
        server.start()
    commitment.start()
    _hint(hints, "")
    stop.wait()
    for server in servers:
        server.stop_accepting()
    commitment.stop()
    shutdown_telemetry()
    os._exit(0)  # associations that are still open have threads that are no daemons


def _servers(
    settings: Settings,
    listeners: list[socket.socket],
    database: Database,
    commitment: CommitmentService,
    hints: socket.socket,
) -> list[ServicesServer]:
    """One per listener: the first as the settings say, the second over TLS."""
    folder = settings.spool_dir / "outgoing"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    secret = settings.oidc_client_secret.get_secret_value()
    token = AccessToken(settings.oidc_issuer, settings.oidc_client_id, secret) if settings.oidc_client_id else None
    region = RegionDicomweb(
        settings.gateway_url,
        ThreadedToken(token) if token else None,
        folder,
        settings.workstation_wait_seconds,
        CentreIdentity.of(settings),
    )
    coercion = Coercion(settings.hospital, settings.region_name)
    query = RegionQuery(region, coercion, settings.ae_title, settings.find_limit)
    retrieve = RetrieveService(query, region, coercion, settings.ae_title, parse_peers(settings.workstations))
    secured = (settings.dimse_tls_only, True)
    return [
        build_services_server(
            settings.ae_title,
            settings.max_associations,
            listener,
            AllowList(settings.allowed_callers).allows,
            find=FindService(query),
            retrieve=retrieve,
            worklist=WorklistService(OrderJournal(database).open_orders),
            commitment=commitment,
            notices=NoticeService(lambda study_uid: _hint(hints, study_uid)),
            tls=tls_options(settings) if tls else {},
        )
        for listener, tls in zip(listeners, secured, strict=False)
    ]


def _hint(hints: socket.socket, study_uid: str) -> None:
    """Tell the agent; a hint that does not fit is dropped, the next sweep finds the study."""
    try:
        hints.send(study_uid.encode() or b"\0")
    except BlockingIOError:
        return


def _end_with_agent() -> None:
    while sys.stdin.buffer.read(4096):
        continue
    os._exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
