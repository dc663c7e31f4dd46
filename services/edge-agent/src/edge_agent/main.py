"""The edge agent put together: receiving processes, background work, commands, HTTP."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from fastapi import FastAPI

from edge_agent.adapters.centre import StowCentre
from edge_agent.adapters.journal import Journal
from edge_agent.adapters.spool import JOURNAL_FILE, sweep_incoming
from edge_agent.api import build_router
from edge_agent.handlers import build_handlers
from edge_agent.settings import Settings
from edge_agent.usecases import EdgeAgent
from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.telemetry import get_logger, setup_telemetry, shutdown_telemetry

SERVICE = "edge-agent"
log = get_logger(__name__)


class Receivers:
    """The receiving processes; one that ends is started again."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._processes: list[asyncio.subprocess.Process] = []

    async def keep_running(self) -> None:
        """Watch them until cancelled."""
        try:
            while True:
                self._processes = [p for p in self._processes if p.returncode is None]
                while len(self._processes) < self._count:
                    self._processes.append(
                        await asyncio.create_subprocess_exec(sys.executable, "-m", "edge_agent.receiver")
                    )
                await asyncio.sleep(0.5)
        finally:
            for process in self._processes:
                process.terminate()

    async def check(self) -> None:
        """Raise unless all run."""
        if sum(process.returncode is None for process in self._processes) < self._count:
            raise RuntimeError("a receiving process is not running")


def build_app() -> FastAPI:
    """The agent's application."""
    settings = Settings()
    setup_telemetry(SERVICE, settings)
    settings.spool_dir.mkdir(parents=True, exist_ok=True)
    journal = Journal(settings.spool_dir / JOURNAL_FILE)
    messaging = Messaging(SERVICE, settings, group=f"edge-agent-{settings.hospital}")
    centre = StowCentre(settings)
    agent = EdgeAgent(settings, journal, centre, messaging.publisher)
    messaging.include(build_handlers(agent, settings.hospital))
    receivers = Receivers(settings.receivers)

    async def listens() -> None:
        await receivers.check()
        _, writer = await asyncio.open_connection(settings.dimse_host, settings.dimse_port)
        writer.close()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweep_incoming(settings.spool_dir)
        receiving = asyncio.create_task(receivers.keep_running())
        await messaging.start()
        working = asyncio.create_task(agent.run())
        try:
            yield
        finally:
            for task in (receiving, working):
                task.cancel()
            await asyncio.gather(receiving, working, return_exceptions=True)
            await messaging.stop()
            await centre.close()
            journal.close()
            shutdown_telemetry()

    app = create_app(SERVICE, settings, lifespan=lifespan, checks={"kafka": messaging.check, "dimse": listens})
    app.include_router(build_router(settings, journal))
    return app
