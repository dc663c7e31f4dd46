"""DICOM in: C-STORE and C-ECHO (PS3.7 §9.1.1, §9.1.5). 0x0000 means file, folder and journal are on disk."""

from collections.abc import Callable
from typing import Any

from opentelemetry.trace import SpanKind
from prometheus_client import Counter
from pynetdicom import _config as pynetdicom_config
from pynetdicom import evt

from edge_agent.adapters.spool import Spool
from edge_agent.errors import SpoolFull
from edge_agent.model import may_call
from edge_agent.settings import Settings
from imaging_common.dicom import RejectedInstance, check_instance
from imaging_common.dicom.association import build_entity, make_server
from imaging_common.telemetry import current_traceparent, get_logger, get_tracer

pynetdicom_config.STORE_RECV_CHUNKED_DATASET = True
pynetdicom_config.LOG_HANDLER_LEVEL = "none"

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
MISMATCH = 0xA900
STORED = Counter("imaging_edge_c_store", "C-STORE requests answered", ["outcome"])
log = get_logger(__name__)
tracer = get_tracer(__name__)


def build_server(settings: Settings, spool: Spool) -> Any:
    """The agent's SCP, bound to its port together with its sister processes."""
    handlers = [
        (evt.EVT_REQUESTED, _refuse_strangers(settings)),
        (evt.EVT_C_STORE, _store(spool)),
        (evt.EVT_C_ECHO, lambda event: SUCCESS),
    ]
    return make_server(build_entity(settings.ae_title), settings.dimse_host, settings.dimse_port, handlers)


def _refuse_strangers(settings: Settings) -> Callable[[Any], None]:
    def on_requested(event: Any) -> None:
        requestor = event.assoc.requestor
        address = requestor.address_info.address
        if not may_call(settings.allowed_callers, requestor.primitive.calling_ae_title.strip(), address):
            log.warning("association refused: the caller is not on the allow-list", address=address)
            # Rejected (permanent), source: service user, reason: calling AE title not recognised (PS3.8 §9.3.4)
            event.assoc.acse.send_reject(0x01, 0x01, 0x03)
            event.assoc.kill()

    return on_requested


def _store(spool: Spool) -> Callable[[Any], int]:
    def on_c_store(event: Any) -> int:
        with tracer.start_as_current_span("C-STORE", kind=SpanKind.SERVER) as span:
            status, outcome = _keep(spool, event)
            span.set_attribute("dicom.status", f"{status:04X}")
            STORED.labels(outcome).inc()
            return status

    return on_c_store


def _keep(spool: Spool, event: Any) -> tuple[int, str]:
    try:
        spool.ensure_room()
        event.request._dataset_file.flush()
        path = event.dataset_path
        instance = check_instance(path, with_header=False)
        spool.keep(instance, path, current_traceparent())
    except SpoolFull as error:
        log.error("C-STORE refused: the spool is full", reason=str(error))
        return OUT_OF_RESOURCES, "full"
    except RejectedInstance as error:
        log.warning("C-STORE refused", reason=str(error))
        return (MISMATCH if error.reason_code == "uid-mismatch" else CANNOT_UNDERSTAND), "rejected"
    except (OSError, TimeoutError) as error:
        log.error("C-STORE refused: the spool cannot be written", error=type(error).__name__, exc_info=error)
        return OUT_OF_RESOURCES, "failed"
    return SUCCESS, "stored"
