"""The edge agent put together: receiving processes, background work, commands, HTTP."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import REGISTRY

from edge_agent.adapters.centre import StowCentre
from edge_agent.adapters.centre_client import CentreIdentity
from edge_agent.adapters.journal import Journal
from edge_agent.adapters.metrics import JournalMetrics
from edge_agent.adapters.order_journal import OrderJournal
from edge_agent.adapters.receivers import Receivers
from edge_agent.adapters.recovery import recover_spool, take_spool
from edge_agent.adapters.report_centre import HttpReportCentre
from edge_agent.adapters.report_journal import ReportJournal
from edge_agent.adapters.services_process import ServicesProcess
from edge_agent.adapters.spool import Budget, SpoolFolder, SpoolLock
from edge_agent.adapters.token import AccessToken
from edge_agent.api import build_router as build_api
from edge_agent.handlers import (
    build_again_router,
    build_echo_router,
    build_order_router,
    build_retrieve_router,
    build_write_back_router,
)
from edge_agent.handlers import build_router as build_handlers
from edge_agent.hl7 import MllpServer
from edge_agent.pacs import PacsSide
from edge_agent.ports import CatalogueDoor, Centre
from edge_agent.retrieving import RetrievingSide
from edge_agent.settings import Settings
from edge_agent.usecases.announce_studies import Announcer
from edge_agent.usecases.answer_echo import EchoDesk
from edge_agent.usecases.keep_ring import Ring
from edge_agent.usecases.relay_events import EventRelay
from edge_agent.usecases.say_again import SayAgain
from edge_agent.usecases.send_batches import BatchSender
from edge_agent.usecases.send_heartbeat import Heartbeat
from edge_agent.usecases.send_reports import ReportSender
from edge_agent.usecases.take_message import TakeMessage
from edge_agent.writing_back import build_write_back
from imaging_common.dicom.association import listen
from imaging_common.errors import NotReady
from imaging_common.http import create_app
from imaging_common.messaging import EventPublisher, Messaging
from imaging_common.telemetry import get_logger, setup_telemetry

_log = get_logger(__name__)
SERVICE = "edge-agent"
BIND_SECONDS = 15.0
CHECKPOINT_SECONDS = 1.0


class EdgeAgent:
    """One hospital's agent; a fake publisher and centre go in here."""

    def __init__(
        self,
        settings: Settings,
        publisher: EventPublisher,
        centre: Centre | None = None,
        catalogues: CatalogueDoor | None = None,
    ) -> None:
        settings.spool_dir.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.folder = SpoolFolder(settings.spool_dir)
        self._lock: SpoolLock = take_spool(self.folder)
        self._budget = Budget(self.folder.budget_path, settings.spool_limit_bytes)
        self._budget.reset()
        self.journal = Journal(self.folder.journal_path, on_commit=self._budget.set_held)
        self._budget.set_held(self.journal.usage().held_bytes)
        recover_spool(self.folder, self.journal)
        self._listener = _listen(settings, settings.dimse_port)
        self.dimse_port: int = self._listener.getsockname()[1]
        identity = CentreIdentity.of(settings)
        self._centre = centre or StowCentre(settings.ingest_url, self.folder, _token(settings), identity)
        self.sender = BatchSender(settings, self.journal, self.folder, self._centre)
        self.relay = EventRelay(self.journal, publisher)
        self.pacs: PacsSide | None = None
        if settings.pacs_ae_title:
            self.pacs = PacsSide(settings, self.journal, _token(settings), self.relay.notify, catalogues)
        self.announcer = (
            self.pacs.forward
            if self.pacs
            else Announcer(settings.hospital, settings.quiet_seconds, self.journal, self.relay.notify)
        )
        self.retrieving = RetrievingSide(settings, self.journal, self.pacs, self._centre, publisher, self.relay.notify)
        self.again = SayAgain(self.journal, self.pacs.watch if self.pacs else None, self.sender.notify)
        self.ring = Ring(settings, self.journal, self.folder)
        self.heartbeat = Heartbeat(settings, self.journal, publisher, self.pacs.state if self.pacs else lambda: None)
        if self.pacs:
            self.pacs.health.on_turn = self.heartbeat.notify
        self.echo = EchoDesk(settings.hospital, self.pacs.echo if self.pacs else None, publisher)
        slots = self.pacs.slots if self.pacs else None
        self.writing_back = build_write_back(settings, self.journal, _token(settings), slots, self.relay.notify)
        self._tls_listener = _listen(settings, settings.dimse_tls_port) if settings.dimse_tls_port else None
        self.receivers = Receivers(settings, self._listener, self.sender.notify, self._tls_listener)
        self.reports = ReportJournal(self.journal, self.folder.root / "reports", settings.reports_limit_bytes)
        self._report_centre = HttpReportCentre(settings.ingest_url, _token(settings), identity)
        self.report_sender = ReportSender(self.reports, self._report_centre)
        self.orders = OrderJournal(self.journal)
        take = TakeMessage(settings.hospital, self.reports, self.orders, self.report_sender.notify)
        self.mllp = MllpServer(settings, take)
        services_listener = _listen(settings, settings.services_port) if settings.services_port else None
        services_tls = _listen(settings, settings.services_tls_port) if settings.services_tls_port else None
        self.services = ServicesProcess(settings, services_listener, self._hint, services_tls)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for work in (
                    *(self.receivers, self.sender, self.announcer),
                    *(self.relay, self.ring, self.heartbeat),
                    *(self.report_sender, self.mllp),
                    *(self.services, self.retrieving, self.writing_back),
                ):
                    group.create_task(work.run())
                if self.pacs:
                    group.create_task(self.pacs.watch.run())
                group.create_task(self._checkpoint())
        finally:
            await self._report_centre.close()
            if self.pacs:
                await self.pacs.close()
            if isinstance(self._centre, StowCentre):
                await self._centre.close()

    def _hint(self, study_uid: str) -> None:
        """A notice said that the PACS has news of a study."""
        if self.pacs:
            self.pacs.watch.hint(study_uid)

    async def _checkpoint(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            await asyncio.to_thread(self.journal.checkpoint)

    def close(self) -> None:
        """Give the port and the spool back."""
        self._listener.close()
        if self._tls_listener is not None:
            self._tls_listener.close()
        self.services.close()
        self.journal.close()
        self._lock.release()

    async def check_spool(self) -> None:
        """Raise when C-STORE is refused.

        Raises
        ------
        NotReady
            The spool is full.
        """
        if self._budget.full:
            raise NotReady("the spool is full")


def build_app(settings: Settings | None = None) -> FastAPI:
    """The agent's application."""
    settings = settings or Settings()
    setup_telemetry(SERVICE, settings)
    messaging = Messaging(SERVICE, settings, group=f"{SERVICE}-{settings.hospital}")
    agent = EdgeAgent(settings, messaging.publisher)
    messaging.include(build_handlers(settings.hospital, agent.ring))
    messaging.include(build_order_router(settings.hospital, agent.orders))
    messaging.include(build_retrieve_router(settings.hospital, agent.retrieving))
    messaging.include(build_again_router(settings.hospital, agent.again))
    messaging.include(build_echo_router(settings.hospital, agent.echo))
    messaging.include(build_write_back_router(settings.hospital, agent.writing_back))
    agent.heartbeat.lag = messaging.lag

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        pacs = agent.pacs.state if agent.pacs else lambda: None
        metrics = JournalMetrics(agent.journal, settings.spool_dir, pacs)
        REGISTRY.register(metrics)
        tasks = [asyncio.create_task(work()) for work in (agent.run, lambda: _start(messaging))]
        tasks[0].add_done_callback(_exit_when_failed)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await messaging.stop()
            REGISTRY.unregister(metrics)
            agent.close()

    checks = {"kafka": messaging.check, "receivers": agent.receivers.check, "spool": agent.check_spool}
    checks["services"] = agent.services.check
    app = create_app(SERVICE, settings, lifespan=lifespan, checks=checks)
    app.include_router(
        build_api(settings, agent.journal, agent.reports, agent.pacs, agent.retrieving, agent.writing_back)
    )
    return app


async def _start(messaging: Messaging) -> None:
    """Images are received also while Kafka is away, so nothing waits for this."""
    while True:
        try:
            await messaging.start()
            return
        except NotReady as error:
            _log.warning("messaging-not-started", error=str(error))


def _exit_when_failed(task: "asyncio.Task[None]") -> None:
    """Work that ends by itself is a bug: end the process, so that whoever runs it starts it again."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("agent-failed", exc_info=error)
        _terminate()


def _terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def _listen(settings: Settings, port: int) -> socket.socket:
    """A DICOM port; a receiving process of an agent that was just killed may hold it for a moment."""
    deadline = time.monotonic() + BIND_SECONDS
    while True:
        try:
            return listen(settings.dimse_host, port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _token(settings: Settings) -> AccessToken | None:
    if not settings.oidc_client_id:
        return None
    return AccessToken(settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret.get_secret_value())
