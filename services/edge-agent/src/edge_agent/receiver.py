"""One receiving process: `python -m edge_agent.receiver`, started by the agent, several on one port."""

import signal
import sys

from edge_agent.adapters.spool import Spool
from edge_agent.dimse import build_server
from edge_agent.settings import Settings
from imaging_common.telemetry import setup_telemetry, shutdown_telemetry


def main() -> None:
    """Serve until SIGTERM."""
    settings = Settings()
    setup_telemetry("edge-agent", settings)
    server = build_server(settings, Spool(settings.spool_dir, settings.spool_limit_bytes))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        shutdown_telemetry()


if __name__ == "__main__":
    main()
