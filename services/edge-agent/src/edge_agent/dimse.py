"""DICOM in: C-STORE and C-ECHO (PS3.7 §9.1.1, §9.1.5). 0x0000 means that file, folder and journal are on disk."""

import socket
from typing import Any

from opentelemetry.trace import SpanKind
from pynetdicom import evt

from edge_agent.adapters.intake import Intake
from edge_agent.adapters.spool import Budget
from edge_agent.errors import SpoolUnusable
from edge_agent.model import AllowList, Outcome
from edge_agent.peers import tls_options
from edge_agent.settings import Settings
from imaging_common.dicom import RejectedInstance, check_instance
from imaging_common.dicom.association import HardenedServer, make_ae
from imaging_common.dicom.sinks import PartTenSink, StoreRequest
from imaging_common.telemetry import current_traceparent, get_logger, get_tracer

# PS3.4 Table B.2-1
SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

_log = get_logger(__name__)
_tracer = get_tracer(__name__)


class StoreScp:
    """Answers C-STORE from the spool."""

    def __init__(self, intake: Intake, budget: Budget) -> None:
        self._intake = intake
        self._budget = budget

    def open_sink(self, request: StoreRequest) -> PartTenSink:
        """The file that a data set grows in; nothing is written once the spool's bound is reached."""
        return PartTenSink(self._intake.folder.incoming, request, self._budget.reserve, self._budget.release)

    def store_on_c_store(self, event: Any) -> int:
        """On C-STORE: check the instance, make it durable, answer."""
        sink: PartTenSink | None = event.assoc.dimse.take(event.request)
        with _tracer.start_as_current_span("C-STORE", kind=SpanKind.SERVER) as span:
            status, reason = (CANNOT_UNDERSTAND, "no-data-set") if sink is None else self._take(sink)
            span.set_attribute("dicom.status", f"{status:04X}")
            if status != SUCCESS:
                self._refused(reason)
            return status

    def _take(self, sink: PartTenSink) -> tuple[int, str]:
        try:
            if sink.refused == "full":
                return OUT_OF_RESOURCES, "full"
            if sink.refused is not None:
                return CANNOT_UNDERSTAND, sink.refused
            checked = check_instance(sink.path, with_header=False, with_digests=False)
            outcome = self._intake.keep(sink, checked, current_traceparent())
        except RejectedInstance as error:
            status = DATA_SET_DOES_NOT_MATCH if error.reason_code == "meta-mismatch" else CANNOT_UNDERSTAND
            return status, error.reason_code
        except SpoolUnusable as error:
            _log.error("spool-unusable", error=str(error))
            return OUT_OF_RESOURCES, "disk"
        finally:
            sink.discard()
        if outcome is Outcome.REJECTED:
            return CANNOT_UNDERSTAND, "rejected-before"
        return SUCCESS, ""

    def _refused(self, reason: str) -> None:
        _log.warning("c-store-refused", reason=reason)
        try:
            self._intake.journal.count_refusal(reason)
        except Exception as error:  # a disk that is full must not cost the association its answer
            _log.error("refusal-not-counted", error=type(error).__name__)


def build_server(
    settings: Settings, listener: socket.socket, intake: Intake, budget: Budget, *, tls: bool = False
) -> HardenedServer:
    """An acceptor of one receiving process; with `tls` callers show a certificate of the region's CA."""
    scp = StoreScp(intake, budget)
    return HardenedServer(
        make_ae(settings.ae_title, settings.max_associations),
        listener,
        AllowList(settings.allowed_callers).allows,
        scp.open_sink,
        [(evt.EVT_C_STORE, scp.store_on_c_store)],
        **(tls_options(settings) if tls else {}),
    )
