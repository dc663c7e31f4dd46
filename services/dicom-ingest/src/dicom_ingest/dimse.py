"""DICOM in: C-STORE and C-ECHO (PS3.7 §9.1.1, §9.1.5) for senders without an edge agent. 0x0000 means staged."""

import asyncio
import ssl
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from opentelemetry.trace import SpanKind
from pydicom import Dataset
from pynetdicom import evt

from dicom_ingest.model import OUT_OF_RESOURCES, Accepted, Callers, Outcome, Refused, Sender
from dicom_ingest.settings import Settings
from dicom_ingest.usecases.collect_instances import CollectInstances
from imaging_common.dicom.association import HardenedServer, listen, make_ae
from imaging_common.dicom.sinks import PartTenSink, StoreRequest
from imaging_common.errors import RetryableError
from imaging_common.telemetry import current_traceparent, get_logger, get_tracer
from imaging_common.tls import BadTls, TlsFiles, server_context

SUCCESS = 0x0000
STAGE_SECONDS = 180.0
_log = get_logger(__name__)
_tracer = get_tracer(__name__)


class Budget:
    """Bytes that may lie on the scratch volume; shared by all associations."""

    def __init__(self, limit: int, instance_limit: int) -> None:
        self._limit = limit
        self._instance_limit = instance_limit
        self._used = 0
        self._lock = threading.Lock()

    def reserve(self, size: int) -> bool:
        """Whether there is room for `size` more."""
        with self._lock:
            if self._used + size > self._limit:
                return False
            self._used += size
            return True

    def release(self, size: int) -> None:
        """Give room back."""
        with self._lock:
            self._used -= size

    def sink(self, folder: Path, request: StoreRequest) -> PartTenSink:
        """A file for one instance, bounded by itself too."""
        left = self._instance_limit

        def reserve(size: int) -> bool:
            nonlocal left
            left -= size
            return left >= 0 and self.reserve(size)

        return PartTenSink(folder, request, reserve, self.release)


class StoreScp:
    """Answers C-STORE once the instance is staged.

    Parameters
    ----------
    loop
        Where `collect` runs; handlers are called in pynetdicom's threads.
    """

    def __init__(self, collect: CollectInstances, callers: Callers, loop: asyncio.AbstractEventLoop) -> None:
        self._collect = collect
        self._callers = callers
        self._loop = loop

    def store_on_c_store(self, event: Any) -> int | Dataset:
        """On C-STORE: stage the instance, answer."""
        sink: PartTenSink | None = event.assoc.dimse.take(event.request)
        if sink is None:
            return _status(Refused("", "", "no-data-set", "no data set came"))
        with _tracer.start_as_current_span("C-STORE", kind=SpanKind.SERVER) as span:
            try:
                status = self._take(sink)
            finally:
                sink.discard()
            code = status if isinstance(status, int) else int(status.Status)
            span.set_attribute("dicom.status", f"{code:04X}")
            return status

    def _take(self, sink: PartTenSink) -> int | Dataset:
        request = sink.request
        if sink.refused == "full":
            return OUT_OF_RESOURCES
        if sink.refused is not None:
            return _status(Refused("", "", sink.refused, "a UID of the request is malformed"))
        hospital = self._callers.hospital_of(request.calling_ae, request.address)
        if hospital is None:
            return _status(Refused("", "", "unknown-caller", "this caller may not store"))
        sender = Sender(f"ae:{request.calling_ae}", hospital, has_edge=False)
        try:
            outcome = self._wait(self._collect.submit(sender, sink.path, sink.length, current_traceparent()))
        except (RetryableError, TimeoutError, OSError) as error:
            _log.warning("c-store not staged", error=type(error).__name__)
            return OUT_OF_RESOURCES
        return SUCCESS if isinstance(outcome, Accepted) else _status(outcome)

    def _wait(self, call: Coroutine[Any, Any, Outcome]) -> Outcome:
        future: Future[Outcome] = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result(STAGE_SECONDS)
        except TimeoutError:
            future.cancel()
            raise


def _status(refused: Refused) -> Dataset:
    """A failure status with Error Comment (PS3.7 C.5)."""
    _log.warning("c-store refused", reason=refused.reason_code)
    status = Dataset()
    status.Status = refused.failure_reason
    status.ErrorComment = refused.text[:64]
    return status


class Acceptor:
    """The C-STORE SCP's life."""

    def __init__(self, settings: Settings, collect: CollectInstances, folder: Path) -> None:
        self._settings = settings
        self._collect = collect
        self._folder = folder
        self._callers = Callers(settings.callers)
        self._server: HardenedServer | None = None
        self.port = 0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Accept associations, in threads."""
        settings = self._settings
        scp = StoreScp(self._collect, self._callers, loop)
        budget = Budget(settings.dimse_scratch_bytes, settings.max_instance_bytes)
        listener = listen(settings.dimse_host, settings.dimse_port)
        self.port = listener.getsockname()[1]
        self._entity = make_ae(settings.ae_title, settings.dimse_associations)
        self._server = HardenedServer(
            self._entity,
            listener,
            self._callers.allows,
            lambda request: budget.sink(self._folder, request),
            [(evt.EVT_C_STORE, scp.store_on_c_store)],
            ssl_context=self._context() if settings.dimse_tls else None,
            allow_peer=lambda names, title: title in names.ae_titles and self._callers.may_be(title, names.hospital),
        )
        self._server.start()

    def _context(self) -> ssl.SSLContext:
        files = TlsFiles.of(self._settings.tls_cert, self._settings.tls_key, self._settings.tls_ca)
        if files is None:
            raise BadTls("dimse_tls needs tls_cert, tls_key and tls_ca")
        return server_context(files)

    def stop(self) -> None:
        """End; what was not answered is sent again. Blocking."""
        if self._server is not None:
            self._entity.shutdown()
            self._server.server_close()
